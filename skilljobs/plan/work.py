"""What travels to a scorer and back, without torch: the model it holds, the run it works for, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skilljobs.checkpoints.source import ModelSource
from skilljobs.lm.results import TUNING_BATCH
from skilljobs.plan.landmarks import Landmarks
from skilljobs.selection import Selection
from skilljobs.spec import JobSpec
from skilljobs.stats.answers import EXACT
from skilljobs.stats.layout import Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.predictivity import above_layout
from skilljobs.store.record import Numerics
from skilljobs.tasks.external_metrics import ExternalMetric, Population


@dataclass(frozen=True)
class ModelSetup:
    """The model that a scorer holds, whichever run it works for."""

    source: ModelSource
    device: str
    dtype: str
    attention: str | None
    selection: Selection
    threads: int
    """CPU threads of the scorer."""
    on_other_machines: bool = False
    """Whether scorers may run on machines other than the driver's."""
    ranks: int = 1
    """How many processes hold the model together."""
    landmarks: Landmarks | None = None
    """What a scorer's machine must see; None if that is not checked."""

    @classmethod
    def of(
        cls,
        source: ModelSource,
        numerics: Numerics,
        selection: Selection,
        on_other_machines: bool = False,
        landmarks: Landmarks | None = None,
        ranks: int = 1,
    ) -> "ModelSetup":
        """The model as a run's numerics want it."""
        return cls(
            source,
            numerics.device,
            numerics.dtype,
            numerics.attention,
            selection,
            numerics.threads,
            on_other_machines,
            ranks,
            landmarks,
        )


@dataclass(frozen=True)
class Reading:
    """What is read from every example."""

    layout: Layout
    external: tuple[ExternalMetric, ...]
    populations: tuple[Population, ...]
    null_values: NDArray[np.float64] | None
    """The values that skewed null metrics are drawn from; None if there are no such metrics."""
    choice_probabilities: Mapping[str, int] = field(default_factory=dict)
    """The task's own model-derived metrics: each the probability of the choice at an index."""

    yes_no: tuple[str, ...] = ()
    """The metrics whose predictivity is asked for."""

    @property
    def counted(self) -> Layout | None:
        """The layout of the counts of examples above a threshold; None if predictivity is not asked for."""
        return above_layout(self.layout, self.yes_no) if self.yes_no else None

    @property
    def has_exact(self) -> bool:
        """Whether the model's own answers are asked for."""
        return any(metric.name == EXACT and metric.kind == "model" for metric in self.layout.metrics)


@dataclass(frozen=True)
class RunWork:
    """The run that a scorer works for."""

    job_id: str
    """Unique for each time that a job works on a run: a scorer keeps nothing of a run beyond it."""
    uri: str
    """The run's directory."""
    run_id: str
    spec: JobSpec
    model_name: str
    reading: Reading
    answer_end: str | None
    """The text that ends an answer; None: the tokenizer's end-of-sequence token."""
    batch_tokens: int
    """Tokens of a batch, padding included."""
    batch_cost: int | None = None
    """What a batch costs, in tokens (see `Numerics.batch_cost`)."""
    tuning_parts: int = 1
    """Into how many parts a tuning step is cut (see `Numerics.tuning_parts`)."""
    like: "LikeWork | None" = None
    """The finished run whose metrics are added to."""


@dataclass(frozen=True)
class LikeWork:
    """The run that metrics are added to: its sums are taken over, once they are seen to be of the same activations."""

    uri: str
    fingerprint: str
    """The digest under which its shards are committed."""
    layout: Layout


@dataclass(frozen=True)
class LoadedModel:
    """What a scorer says once it has loaded its model."""

    host: str
    device_model: str
    versions: Mapping[str, str]
    """The packages that must have one version on all machines."""
    attention: str
    """The attention implementation that it was loaded with."""
    reads_trees: bool
    """Whether continuations are read as trees (see `skilljobs.lm.tree`)."""
    neurons: tuple[LayerNeurons, ...]
    """Those that are read, layer by layer."""
    parameters: int
    node: str | None = None
    """Ray's id of the machine."""

    @property
    def must_agree(self) -> dict[str, str]:
        """What must be the same for all scorers of a run, by name."""
        return {**self.versions, "device": self.device_model, "attention": self.attention}


@dataclass(frozen=True)
class UnfitMachine:
    """What a scorer says if its machine does not see what it must."""

    host: str
    reason: str
    node: str | None = None


VALIDATION_EXAMPLES = 128
"""How many validation examples decide when tuning stops, and which step was best."""


MOST_EPOCHS_OF_LIMITED = 8
"""With `--limit`, tuning goes through its train examples so many times at most."""


def most_tuning_steps(spec: JobSpec, train: int) -> int:
    """The steps after which tuning ends at the latest, with `train` examples to tune on.

    With `--limit` they are fewer than the default, in proportion to the train examples; other `--tune-steps` than the
    default are taken as they are.
    """
    if spec.limit is None or spec.tune_steps != JobSpec(data="").tune_steps:
        return spec.tune_steps
    return min(spec.tune_steps, MOST_EPOCHS_OF_LIMITED * -(-train // TUNING_BATCH))


@dataclass(frozen=True)
class LeftOut:
    """Examples that tuning goes on without, because their loss or its gradient is not finite."""

    example_ids: tuple[str, ...]
