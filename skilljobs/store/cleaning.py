"""Deleting what a finished run's results can be read without."""

from dataclasses import dataclass

from skilljobs.errors import InputError
from skilljobs.store.attempts import SUMS_KINDS, shard_files
from skilljobs.store.run import RunFiles
from skilljobs.store.verification import damaged_files

SUMS_DROPPED = "`skilljobs clean --shards` dropped its sums"
LOST = (
    "correlations with other metrics held fixed (`top --given`, `compare` of a category) and their null thresholds",
    "adding metrics (`submit --like`)",
    "making damaged correlations again (`submit --verify`)",
    "`Run.sums()`",
)
"""What can no longer be done without the sums."""


@dataclass(frozen=True)
class Dropped:
    """How many files were deleted, and their bytes."""

    files: int
    size: int


def drop_sums(run: RunFiles) -> Dropped:
    """Delete the sums of all shards, of each soft prompt of the run.

    Scores, moments, examples and all results stay. The record says that they are gone before they are.

    Raises:
        InputError: the run is not complete, or a file of it is damaged, so that its sums are still needed.
    """
    record = run.record
    if not record.is_complete:
        raise InputError(
            f"the run at {run.uri} is not complete (it lacks {record.next_stage}), and its sums are needed to complete"
            " it"
        )
    damaged = damaged_files(run, thorough=True)
    if damaged:
        raise InputError(
            f"files of the run at {run.uri} are damaged or missing ({damaged[0]} first) and may have to be made again"
            " from its sums: `skilljobs submit --verify` with the options of the run does that"
        )
    files = size = 0
    for each in (*run.prompt_runs, run):
        each.mark_sums_dropped()
        for name in shard_files(each.folder):
            if name.startswith(SUMS_KINDS):
                size += each.folder.size(name) or 0
                each.folder.delete(name)
                files += 1
    return Dropped(files, size)
