"""Which of the files of shards count, and deleting the others.

Two attempts at a shard may be under way at once, since one on a scorer that hangs cannot be called back. Each writes
sums and moments under names of its own, and the receipt in the scores file says whose count. So does each of several
ranks that hold a model together: a shard then has several files of sums.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from skilljobs.store.files import Folder
from skilljobs.store.shards import Receipt, above_name, moments_name, read_receipt, scores_name, sums_name

SUMS_KINDS = ("shards/sums-", "shards/above-")
"""How the names of files of sums begin, those of counts included."""


class CountedNames(dict[int, tuple[str, ...]]):
    """The files that count of one kind, by shard; a missing one is an error like that of opening it."""

    def __missing__(self, shard: int) -> tuple[str, ...]:
        raise FileNotFoundError(f"shard {shard} has no file that counts")


def shard_of(name: str) -> int:
    """Return the number of the shard that a file in `shards/` belongs to."""
    return int(name.partition("-")[2].partition(".")[0])


def is_of_rank(name: str) -> bool:
    """Return whether a sums file holds the neurons of one of several ranks alone."""
    return ".r" in name.rpartition("/")[2]


def shard_files(folder: Folder) -> list[str]:
    """Return the names of the files of all shards and attempts, sorted."""
    return folder.names("shards", ".parquet")


def sums_names(folder: Folder) -> CountedNames:
    """Return the names of the sums files of each shard; one with several files must be committed to have any."""
    return _names_that_count(folder, "sums", sums_name)


def moments_names(folder: Folder) -> CountedNames:
    """Return the name of the moments file of each shard, by itself, as `sums_names` does."""
    return _names_that_count(folder, "moments", moments_name)


def above_names(folder: Folder) -> CountedNames:
    """Return the name of the file of counts of each shard, as `sums_names` does."""
    return _names_that_count(folder, "above", above_name)


def sums_and_moments(folder: Folder, shard: int) -> tuple[tuple[str, ...], str]:
    """Return the names of the sums files, and that of the moments file, of one committed shard.

    Raises:
        FileNotFoundError: the shard is not committed.
    """
    receipt = read_receipt(folder, shard)
    if receipt is None:
        raise FileNotFoundError(scores_name(shard))
    return _named(receipt, "sums"), _named(receipt, "moments")[0]


def delete_leftovers(folder: Folder, receipts: Iterable[Receipt]) -> None:
    """Delete the files of committed shards that their receipts do not name. No attempt may be under way any more."""
    named = {receipt.shard: {*receipt.files, scores_name(receipt.shard)} for receipt in receipts}
    for name in shard_files(folder):
        shard = shard_of(name)
        if shard in named and name not in named[shard]:
            folder.delete(name)


def _names_that_count(folder: Folder, kind: str, first_name: Callable[[int], str]) -> CountedNames:
    found: defaultdict[int, list[str]] = defaultdict(list)
    for name in shard_files(folder):
        if name.startswith(f"shards/{kind}-"):
            found[shard_of(name)].append(name)
    names = CountedNames()
    for shard, attempts in sorted(found.items()):
        if attempts == [first_name(shard)]:
            names[shard] = (attempts[0],)
        elif receipt := read_receipt(folder, shard):
            names[shard] = _named(receipt, kind)
    return names


def _named(receipt: Receipt, kind: str) -> tuple[str, ...]:
    names = tuple(name for name in receipt.files if name.startswith(f"shards/{kind}-"))
    if not names:
        raise FileNotFoundError(f"the scores of shard {receipt.shard} name no file of its {kind}")
    return names
