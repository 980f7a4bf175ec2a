"""A run's directory: its record `run.json`, and where everything else stands."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.store.files import Folder
from skilljobs.store.schema import FORMAT_VERSION

RECORD = "run.json"
PROGRESS_NAME = "progress.json"
"""How the job goes, by itself: written while it runs."""
LOG_NAME = "log.txt"
STOP_NAME = "stop"
"""Put there to make the job stop."""
PROMPT_NAME = "prompt/soft_prompt.safetensors"
TUNING_NAME = "prompt/tuning.parquet"
TUNING_EXAMPLES_NAME = "prompt/examples.parquet"
TUNING_STATE_NAME = "prompt/state.safetensors"
TOP_NAME = "top.parquet"
BEST_NAME = "best.parquet"
ACTIVATIONS_NAME = "activations.parquet"
VOCABULARY_NAME = "vocabulary.parquet"
FIGURES = "figures"
REPORT_NAME = "report.html"
TOP_ROWS = 1000
"""Rows of each metric and population in `top.parquet`."""
STAGES = ("prepare", "tune", "reference", "collect", "reduce", "trace")
"""What a run goes through, in order; starting Ray, loading the model and the report are timed beside them. A run of
several prompts has them in the run of each prompt, and itself only `reduce`."""


def correlations_name(layer: int) -> str:
    return f"correlations/layer-{layer:03d}.parquet"


def prompt_uri(uri: str, number: int) -> str:
    """Where the run of one prompt stands, in a run of several."""
    return f"{uri}/prompts/{number}"


class RunFiles:
    """The record and the files of one run. The record is small and rewritten whole; committed files are the truth."""

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)
        self.record: dict[str, Any] = {}

    @property
    def uri(self) -> str:
        return self.folder.uri

    @property
    def exists(self) -> bool:
        return self.folder.exists(RECORD)

    def load(self) -> dict[str, Any]:
        """Read the record.

        Raises:
            InputError: there is no run here, or one of another format version.
        """
        try:
            self.record = json.loads(self.folder.read(RECORD))
        except FileNotFoundError:
            raise InputError(f"there is no run at {self.uri} (it has no {RECORD})") from None
        except json.JSONDecodeError as error:
            raise InputError(f"the run at {self.uri} has a broken {RECORD}: {error}") from error
        found = self.record.get("format") if isinstance(self.record, dict) else None
        if found != FORMAT_VERSION:
            raise InputError(f"the run at {self.uri} has format version {found}; this skilljobs reads {FORMAT_VERSION}")
        return self.record

    def progress(self) -> dict[str, Any] | None:
        """What the job last told of itself; None where there is nothing."""
        try:
            return dict(json.loads(self.folder.read(PROGRESS_NAME)))
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def save(self) -> None:
        self.folder.write(RECORD, (json.dumps(self.record, indent=2) + "\n").encode())

    def stage_done(self, stage: str) -> bool:
        return bool(self.record["stages"].get(stage, {}).get("state") == "done")

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do but the report."""
        return all(map(self.stage_done, STAGES if self.record["spec"]["prompts"] == 1 else ("reduce",)))

    def committed_numbers(self) -> list[int]:
        """The shards that have a scores file, ascending."""
        names = (name.rpartition("/")[2] for name in self.folder.names("shards", ".parquet"))
        return [int(name[7:-8]) for name in names if name.startswith("scores-")]

    def committed_count(self) -> int:
        """How many shards have a scores file."""
        return len(self.committed_numbers())

    def finish_stage(self, stage: str, seconds: float) -> None:
        """Record a stage as done. Seconds add up over resumed submissions."""
        before = self.record["stages"].get(stage, {}).get("seconds", 0.0)
        self.record["stages"][stage] = {"state": "done", "seconds": round(before + seconds, 3)}
        self.save()


def seconds_since(told_at: str) -> float:
    """Seconds since a job told something, by its own clock and ours."""
    return (datetime.now(UTC) - datetime.fromisoformat(told_at)).total_seconds()


def fingerprint_digest(fields: dict[str, Any]) -> str:
    """One name for all that determines a run's numbers."""
    return stable_digest(json.dumps(fields, sort_keys=True), size=16).hex()


def refuse_changes(uri: str, stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a run whose fingerprint fields differ from `now`; fields that either lacks are new.

    Raises:
        InputError: names the first field that differs, with its old and new value.
    """
    for field, new in now.items():
        if field in stored and stored[field] != new:
            raise InputError(
                f"the run at {uri} was begun with {field} = {stored[field]!r}, now it is {new!r}: it cannot be resumed"
                " with that changed (use another --run-id, or repeat the first command)"
            )


def list_runs(uri: str) -> list[dict[str, Any]]:
    """The records of the runs in a folder, and their `uri`, newest first; what is not a run is passed over."""
    folder = Folder(uri)
    records = []
    for name in folder.folders():
        with suppress(InputError):
            uri = f"{folder.uri}/{name}"
            records.append(RunFiles(uri).load() | {"uri": uri})
    return sorted(records, key=lambda record: str(record["created"]), reverse=True)
