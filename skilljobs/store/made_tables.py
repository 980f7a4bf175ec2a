"""Which tables of a run are made."""

from skilljobs.store.record import RunRecord
from skilljobs.store.run import RunFiles

MADE_BY = {
    "examples": "prepare",
    "tuning curve": "tune",
    "metrics": "reference",
    "scores": "collect",
    "sums": "collect",
    "correlations": "reduce",
    "activations": "trace",
    "vocabulary": "trace",
}
"""The stage that makes each table."""


def is_made(files: RunFiles, record: RunRecord, table: str) -> bool:
    """Return whether a table, a key of `MADE_BY`, is made; in a run of several soft prompts, for all of them."""
    several = record.job_spec.prompts > 1
    stage = "reduce" if several and table == "metrics" else MADE_BY[table]
    if several and stage != "reduce":
        return all(run.exists and run.record.is_done(stage) for run in files.prompt_runs)
    return record.is_done(stage)
