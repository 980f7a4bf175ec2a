"""Which files of a finished run are published, and what they hold then."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyarrow import fs

from skilljobs.errors import InputError
from skilljobs.store.attempts import SUMS_KINDS
from skilljobs.store.record import RunRecord
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME
from skilljobs.store.run import (
    ABLATION_NAME,
    ABLATION_SCORES_NAME,
    ACTIVATIONS_NAME,
    BEST_NAME,
    EFFECTS_NAME,
    EFFECTS_NULL_NAME,
    NULL_MAXIMA_NAME,
    PROMPT_NAME,
    RECORD,
    REPORT_NAME,
    SHORTCUTS_NAME,
    TOP_NAME,
    TUNING_EXAMPLES_NAME,
    TUNING_NAME,
    VOCABULARY_NAME,
    RunFiles,
)
from skilljobs.store.thresholds import THRESHOLDS_NAME

RESULTS = (
    REFERENCE_NAME, METRICS_NAME, THRESHOLDS_NAME, TOP_NAME, BEST_NAME, NULL_MAXIMA_NAME, ACTIVATIONS_NAME,
    VOCABULARY_NAME, ABLATION_NAME, ABLATION_SCORES_NAME, EFFECTS_NAME, EFFECTS_NULL_NAME, SHORTCUTS_NAME,
    PROMPT_NAME, TUNING_NAME, "correlations/layer-*.parquet",
    "shards/moments-*.parquet", "shards/scores-*.parquet", "figures/*.png", "figures/*.svg",
    "ablations/index.json", "effects/index.json", "shortcuts/index.json",
    *(f"{job}/*/{file}" for job in ("ablations", "effects", "shortcuts") for file in ("*.json", "*.parquet")),
)  # fmt: skip
"""What results are read from. A star stands for no slash."""
TEXTS = ("examples/part-*.parquet", TUNING_EXAMPLES_NAME, REPORT_NAME)
"""What holds texts of the data."""
SUMS = tuple(f"{kind}*.parquet" for kind in SUMS_KINDS)
NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class PublishedFile:
    """A file of what is published. `data` is what it holds; None for what the run's file of that name holds."""

    name: str
    size: int
    data: bytes | None = None


def published_files(run: RunFiles, shards: bool, texts: bool) -> list[PublishedFile]:
    """The files of a run that are published, `run.json` last: whoever finds that finds the others.

    Nothing else that lies in the run's directory is: no log, no lease, no file of somebody's own.

    Args:
        shards: whether the sums of shards are.
        texts: whether the texts of examples are, and the report, which shows some.

    Raises:
        InputError: there is no run, or it is not complete.
    """
    record = run.record
    if not record.is_complete:
        raise InputError(
            f"the run at {run.uri} is not complete (it lacks {record.next_stage}): submit it again to complete it"
        )
    patterns = (*RESULTS, *(TEXTS if texts else ()), *(SUMS if shards else ()))
    found, records = [], []
    for prefix, files in (("", run), *((f"prompts/{place}/", files) for place, files in enumerate(run.prompt_runs))):
        for name, size in _files_below(files):
            if any(_matches(name, pattern) for pattern in patterns):
                found.append(PublishedFile(prefix + name, size))
        data = _record(files.record, shards, texts).to_bytes()
        records.append(PublishedFile(prefix + RECORD, len(data), data))
    return sorted(found, key=lambda file: file.name) + records[::-1]


def is_published(name: str) -> bool:
    """Whether a file of this name may be one that was published."""
    patterns = (*RESULTS, *TEXTS, *SUMS, RECORD)
    first, _, rest = name.partition("/")
    own = rest.partition("/")[2] if first == "prompts" else name
    return any(_matches(own, pattern) for pattern in patterns)


def _files_below(run: RunFiles) -> Iterator[tuple[str, int]]:
    """The names and sizes of all files of a run, without those in folders that begin with a dot."""
    folder = run.folder
    for info in folder.filesystem.get_file_info(fs.FileSelector(folder.root, recursive=True)):
        if info.type == fs.FileType.File:
            yield info.path.removeprefix(folder.root.rstrip("/") + "/"), info.size


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        not part.startswith(".") and fnmatchcase(part, one) for part, one in zip(parts, wanted, strict=True)
    )


def _record(record: RunRecord, shards: bool, texts: bool) -> RunRecord:
    """The record of a run without what is not published: it says that sums are gone, and quotes no bad row."""
    changes: dict[str, object] = {}
    if not shards:
        changes["sums_dropped"] = True
    if not texts:
        changes["quarantined"] = tuple(row.model_copy(update={"reason": NOT_PUBLISHED}) for row in record.quarantined)
    return record.model_copy(update=changes)


def same_run(stored: bytes, record: RunRecord) -> bool:
    """Whether a `run.json` that was published before is of this run."""
    try:
        found = json.loads(stored)
        return bool(found["fingerprint"]["digest"] == record.fingerprint.digest)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
