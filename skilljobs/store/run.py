"""A run's directory: its record `run.json`, the names of its files, and the named ways to change the record."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.spec import JobSpec
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.record import (
    Accuracy,
    FileDigest,
    Fingerprint,
    Numerics,
    RunRecord,
    SetAsideExample,
    StageRecord,
)
from skilljobs.store.series_files import SERIES_NAME
from skilljobs.uris import child_uri

RECORD = "run.json"
PROGRESS_NAME = "progress.json"
"""How the job is doing, in its own words: written while it runs."""
LOG_NAME = "log.txt"
STOP_NAME = "stop"
"""A file with this name asks the job to stop."""
PROMPT_NAME = "prompt/soft_prompt.safetensors"
TUNING_NAME = "prompt/tuning.parquet"
TUNING_EXAMPLES_NAME = "prompt/examples.parquet"
TUNING_STATE_NAME = "prompt/state.safetensors"
TOP_NAME = "top.parquet"
BEST_NAME = "best.parquet"
NULL_MAXIMA_NAME = "null_maxima.parquet"
ACTIVATIONS_NAME = "activations.parquet"
ABLATION_NAME, ABLATION_SCORES_NAME = "ablation.parquet", "ablation_scores.parquet"
EFFECTS_NAME, EFFECTS_NULL_NAME = "effects.parquet", "effects_null.parquet"
SHORTCUTS_NAME = "shortcuts.parquet"
VOCABULARY_NAME = "vocabulary.parquet"
FIGURES = "figures"
REPORT_NAME = "report.html"
TOP_ROWS = 1000
"""Rows of each metric and population in `top.parquet`."""


def correlations_name(layer: int) -> str:
    """The correlations of one layer."""
    return f"correlations/layer-{layer:03d}.parquet"


def prompt_uri(uri: str, number: int) -> str:
    """The run of one prompt, within a run of several."""
    return child_uri(uri, f"prompts/{number}")


@dataclass(frozen=True)
class CollectedFacts:
    """What a run knows of its shards once all are committed; see `RunRecord`."""

    shards: tuple[int, ...]
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    bit_exact: bool
    tokens: int
    test_accuracy: float | None
    skewness: Mapping[str, float]
    peak_memory_mb: int
    set_aside: tuple[SetAsideExample, ...]


class RunFiles:
    """The files of one run, and its record.

    The record is small and rewritten whole by each of the methods that change it; committed files are the truth.
    """

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)
        self._record: RunRecord | None = None

    @property
    def uri(self) -> str:
        return self.folder.uri

    @property
    def exists(self) -> bool:
        """Whether the run has a record."""
        return self.folder.exists(RECORD)

    @property
    def record(self) -> RunRecord:
        """The record, read when it is first asked for; errors as `load`."""
        return self._record or self.load()

    @property
    def prompt_runs(self) -> list["RunFiles"]:
        """The runs of the soft prompts, whether begun or not; none in a run of one soft prompt."""
        prompts = self.record.job_spec.prompts
        return [RunFiles(prompt_uri(self.uri, number)) for number in range(prompts if prompts > 1 else 0)]

    def load(self) -> RunRecord:
        """Read the record again.

        Raises:
            InputError: there is no run here, or its record cannot be read.
        """
        try:
            data = self.folder.read(RECORD)
        except (FileNotFoundError, NotADirectoryError):
            if self.folder.exists(SERIES_NAME):
                raise InputError(f"{self.uri} is a series of runs, which compare and plot take: name one run") from None
            raise InputError(f"there is no run at {self.uri} (it has no {RECORD})") from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"the run at {self.uri} cannot be read: {error}") from error
        self._record = RunRecord.from_bytes(data, self.uri)
        return self._record

    def save(self, record: RunRecord) -> None:
        """Make `record` the run's record."""
        self.folder.write(RECORD, record.to_bytes())
        self._record = record

    def _change(self, **changes: Any) -> None:
        self.save(self.record.model_copy(update=changes))

    def plan_stages(self, stages: Iterable[str]) -> None:
        """Set which stages make the run complete: a newer skilljobs may have more than the one that began it."""
        if tuple(stages) != self.record.planned_stages:
            self._change(planned_stages=tuple(stages))

    def finish_stage(self, stage: str, seconds: float, files: Mapping[str, FileDigest] | None = None) -> None:
        """Record a stage as done, with the files that it left. Seconds add up over resumed submissions."""
        before = self.record.stages.get(stage)
        total = round(seconds + (before.seconds if before else 0.0), 3)
        finished = StageRecord(seconds=total, files=dict(files or {}))
        self._change(stages={**self.record.stages, stage: finished})

    def forget_files(self, names: Collection[str]) -> None:
        """No longer expect files that were deleted on purpose."""
        self._change(
            stages={
                stage: done.model_copy(update={"files": {n: d for n, d in done.files.items() if n not in names}})
                for stage, done in self.record.stages.items()
            }
        )

    def fix_numerics(self, numerics: Numerics) -> None:
        """Record the numerics, which from now on may not change."""
        known = {name: value for name, value in numerics.model_dump().items() if value is not None}
        self.extend_fingerprint({f"numerics.{name}": value for name, value in known.items()})
        self._change(numerics=numerics)

    def extend_fingerprint(self, fields: Mapping[str, Any]) -> None:
        """Add what has become known to the fingerprint.

        Raises:
            InputError: the run was begun with something else.
        """
        known = self.record.fingerprint.fields
        refuse_changes(self.uri, known, fields)
        if any(name not in known for name in fields):
            self._change(fingerprint=Fingerprint.of({**known, **fields}))

    def describe_model(
        self, parameters: int, neurons: tuple[LayerNeurons, ...], versions: Mapping[str, str | None]
    ) -> None:
        """Record the size of the loaded model and the versions of the packages that ran it."""
        model = self.record.model.model_copy(update={"parameters": parameters, "neurons": neurons})
        self._change(model=model, versions={**self.record.versions, **versions})

    def record_accuracy(self, accuracy: Accuracy) -> None:
        """Record how often the right choice was given."""
        self._change(accuracy=accuracy)

    def stop_at(self, shards: int) -> None:
        """Record that the first `shards` shards are enough."""
        self._change(stopped_at=shards)

    def mark_sums_dropped(self) -> None:
        """Record that the sums of its shards are deleted."""
        self._change(sums_dropped=True)

    def change_spec(self, spec: JobSpec) -> None:
        """Record options that changed without changing a number."""
        if spec.as_json() != self.record.spec:
            self._change(spec=spec.as_json())

    def record_collected(self, facts: CollectedFacts) -> None:
        """Record what the committed shards say."""
        record = self.record
        self._change(
            shards=facts.shards,
            halves=facts.halves,
            examples=record.examples.model_copy(update={"test": sum(facts.shards)}),
            bit_exact=facts.bit_exact,
            tokens=facts.tokens,
            accuracy=record.accuracy.model_copy(update={"test": facts.test_accuracy}),
            skewness=dict(facts.skewness),
            peak_memory_mb=facts.peak_memory_mb,
            set_aside=facts.set_aside,
        )

    def record_prompts(self, prompts: list[RunRecord]) -> None:
        """Record, in a run of several soft prompts, what the runs of its prompts found."""
        first = prompts[0]
        self.extend_fingerprint({"prompts_fingerprints": [prompt.fingerprint.digest for prompt in prompts]})
        self._change(
            numerics=first.numerics,
            model=first.model,
            skewness=first.skewness,
            versions={**self.record.versions, **first.versions},
            bit_exact=all(prompt.bit_exact for prompt in prompts),
            accuracy=Accuracy(
                **{
                    name: _mean([getattr(prompt.accuracy, name) for prompt in prompts])
                    for name in Accuracy.model_fields
                }
            ),
        )

    def committed_numbers(self) -> list[int]:
        """The shards that have a scores file, ascending."""
        names = (name.rpartition("/")[2] for name in self.folder.names("shards", ".parquet"))
        return [int(name[7:-8]) for name in names if name.startswith("scores-")]

    def committed_count(self) -> int:
        """How many shards have a scores file."""
        return len(self.committed_numbers())


def seconds_since(moment: str) -> float:
    """Seconds since a moment that a job wrote down (ISO 8601), by its own clock and ours."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def refuse_changes(uri: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run whose fingerprint fields differ from `now`; fields that only one of them has are new.

    Raises:
        InputError: names the first field that differs, with its old and new value.
    """
    for field, new in now.items():
        if field in stored and stored[field] != new:
            raise InputError(
                f"the run at {uri} was begun with {field} = {stored[field]!r}, now it is {new!r}: it cannot be resumed"
                " with that changed (use another --run-id, or repeat the first command)"
            )


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
