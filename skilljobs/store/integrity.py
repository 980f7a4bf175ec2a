"""Whether the files of a run are as the stage that wrote them left them."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from skilljobs.store.files import Folder
from skilljobs.store.record import FileDigest
from skilljobs.store.shards import sha256


def matching_names(folder: Folder, patterns: Iterable[str]) -> list[str]:
    """The files of a run that match one of the patterns (`correlations/layer-*.parquet`), sorted."""
    patterns = list(patterns)
    places = {pattern.rpartition("/")[0] for pattern in patterns}
    names = {name for place in places for name in folder.names(place, "")}
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def digests_of(folder: Folder, names: Iterable[str]) -> dict[str, FileDigest]:
    """Size and SHA-256 of each file."""
    digests = {}
    for name in names:
        data = folder.read(name)
        digests[name] = FileDigest(size=len(data), sha256=sha256(data))
    return digests


def damaged_names(folder: Folder, digests: Mapping[str, FileDigest], thorough: bool) -> list[str]:
    """The files that are missing or changed. Only sizes are compared, unless `thorough`."""
    damaged = []
    for name, digest in digests.items():
        intact = folder.size(name) == digest.size and (not thorough or sha256(folder.read(name)) == digest.sha256)
        if not intact:
            damaged.append(name)
    return damaged
