"""The record of a run, `run.json`, as a type: what was asked for, decided and found."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.spec import JobSpec
from skilljobs.stats.neurons import LayerNeurons

FORMAT_VERSION = 4
"""Raised whenever an older skilljobs would misread a run, or a newer one an older run."""


class _Part(BaseModel):
    """A part of the record: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Numerics(_Part):
    """What decides the last bits. With these, the spec, the data and the prompt equal, the sums have the same bits on
    any cluster."""

    gpus: int
    """GPUs of a replica."""
    device: str
    """`cpu`, `cuda`, or `auto` for a model that is spread over several GPUs."""
    dtype: str
    threads: int
    """CPU threads of a replica."""
    attention: str | None
    """What transformers calls the implementation; None until a scorer has loaded the model, unless it was asked for."""
    batch_tokens: int
    batch_cost: int | None = None
    """How many tokens take as long as what a batch takes beside its tokens; None in older runs, whose batches are
    filled whatever the padding."""
    tuning_parts: int | None = None
    """Into how many parts a tuning step is cut, which several replicas may compute; None where nothing is tuned, and in
    older runs, which are tuned in one part."""


class Fingerprint(_Part):
    """Everything that determines the run's numbers, by name, and a digest of it."""

    digest: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Fingerprint":
        return cls(digest=stable_digest(json.dumps(fields, sort_keys=True), size=16).hex(), fields=fields)


class FileDigest(_Part):
    """What identifies the content of a file."""

    size: int
    sha256: str


class StageRecord(_Part):
    """A stage that is done. Seconds add up over resumed submissions."""

    state: Literal["done"] = "done"
    seconds: float
    files: dict[str, FileDigest] = {}
    """The files that it left, by name; those of shards are in their receipts instead."""


class Accuracy(_Part):
    """Fractions of multiple-choice examples that are answered right: on validation before and after tuning, on test."""

    before: float | None = None
    after: float | None = None
    test: float | None = None


class ExampleCounts(_Part):
    """How many examples each split has."""

    train: int
    validation: int
    test: int


class ModelFacts(_Part):
    """The model, by name at first, with its size once it was loaded."""

    name: str
    commit: str | None = None
    """The commit on the Hugging Face hub; None for a model of this machine."""
    parameters: int | None = None
    neurons: tuple[LayerNeurons, ...] | None = None
    """Those that are read, layer by layer."""


class QuarantinedRow(_Part):
    """A row of the data that is left out, and why."""

    source: str
    row: int
    reason: str


class SetAsideExample(_Part):
    """A test example that is in no sum, because an activation or its score is not finite."""

    example_id: str
    shard: int
    layer: int | None
    """The first layer with such an activation; None if only the score is not finite."""


class Columns(_Part):
    """What became of every column of the data; see `skilljobs.tasks.columns.ColumnReport`."""

    fields: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    one_hot: dict[str, int] = {}
    ignored: dict[str, str] = {}


class RunRecord(_Part):
    """The whole of `run.json`."""

    format: int = FORMAT_VERSION
    run_id: str
    created: str
    """ISO 8601, UTC."""
    spec: dict[str, Any]
    """The options of the job (see `JobSpec.as_json`)."""
    planned_stages: tuple[str, ...]
    """The stages that make the run complete, in order."""
    numerics: Numerics | None = None
    fingerprint: Fingerprint
    versions: dict[str, str | None]
    stages: dict[str, StageRecord] = {}
    accuracy: Accuracy = Accuracy()
    examples: ExampleCounts
    shards: tuple[int, ...]
    """Examples of each shard."""
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    """The shards of half 0 and of half 1."""
    units_repeat: bool
    """Whether some test examples share a unit."""
    model: ModelFacts
    groups: dict[str, tuple[str, ...]]
    """The populations of each grouping column."""
    quarantined: tuple[QuarantinedRow, ...]
    set_aside: tuple[SetAsideExample, ...] = ()
    columns: Columns = Columns()
    bit_exact: bool | None = None
    """False if a batch had to be split for want of memory; None before the shards are collected."""
    tokens: int | None = None
    """Tokens that the model read of the test examples, without padding."""
    skewness: dict[str, float] | None = None
    """Of each metric's values."""
    peak_memory_mb: int | None = None
    """The largest memory of a scorer."""
    stopped_at: int | None = None
    """With `--until-ci`: how many shards were enough."""
    sums_dropped: bool | None = None
    """True once the sums of its shards were deleted, which results are read without."""
    provenance: bool | None = None
    """True if its Parquet files say where they come from (`store/provenance.py`). Those of older runs do not, so that
    one that is made again is what it was."""
    prompts_fingerprints: tuple[str, ...] | None = None
    """With several soft prompts: the digest of each prompt's fingerprint."""

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> "RunRecord":
        """Read `run.json`.

        Raises:
            InputError: it is damaged, or of another format version; names the run and what is wrong.
        """
        try:
            stored = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the run at {uri} has a broken run.json: {error}") from error
        if not isinstance(stored, dict):
            raise InputError(f"the run at {uri} has a broken run.json: it is not a JSON object")
        version = stored.get("format")
        if version != FORMAT_VERSION:
            raise InputError(f"the run at {uri} has format version {version}; this skilljobs reads {FORMAT_VERSION}")
        try:
            record = cls.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"the run at {uri} has a broken run.json: {place}: {first['msg'].lower()}") from error
        try:
            JobSpec.from_json(record.spec)
        except (InputError, TypeError) as error:
            raise InputError(f"the run at {uri} has a broken run.json: spec: {error}") from error
        return record

    def to_bytes(self) -> bytes:
        """The record as the text of `run.json`; what is not known yet is left out where nothing expects it."""
        unknown = {name for name in _LEFT_OUT_WHILE_UNKNOWN if getattr(self, name) is None}
        stored = self.model_dump(mode="json", exclude=unknown)
        stored["model"] = {name: value for name, value in stored["model"].items() if value is not None}
        return (json.dumps(stored, indent=2) + "\n").encode()

    @property
    def job_spec(self) -> JobSpec:
        """The options of the job."""
        return JobSpec.from_json(self.spec)

    @property
    def neurons(self) -> tuple[LayerNeurons, ...]:
        """The neurons that are read, layer by layer.

        Raises:
            InputError: the model has not been loaded yet.
        """
        if self.model.neurons is None:
            raise InputError(f"the run {self.run_id} has not loaded its model yet")
        return self.model.neurons

    def is_done(self, stage: str) -> bool:
        return stage in self.stages

    @property
    def next_stage(self) -> str | None:
        """The first planned stage that is not done; None if the run is complete (a report aside)."""
        return next((stage for stage in self.planned_stages if stage not in self.stages), None)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do, except perhaps a report."""
        return self.next_stage is None


_LEFT_OUT_WHILE_UNKNOWN = (
    "tokens",
    "skewness",
    "peak_memory_mb",
    "stopped_at",
    "sums_dropped",
    "provenance",
    "prompts_fingerprints",
)
