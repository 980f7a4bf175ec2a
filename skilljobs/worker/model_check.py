"""Loading a model as a scorer does, to see whether it is read right."""

from dataclasses import dataclass

from skilljobs.checkpoints.source import ModelSource
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.ranks import ALONE, Ranks
from skilljobs.lm.self_check import check_reading_in_parts
from skilljobs.selection import Selection
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.record import Numerics


@dataclass(frozen=True)
class CheckedModel:
    """What is read of a model, and how far it is from a plain forward pass at most."""

    neurons: tuple[LayerNeurons, ...]
    attention: str
    relative_error: float


def load_checked(
    source: ModelSource,
    dtype: str,
    device: str,
    attention: str | None,
    selection: Selection,
    ranks: Ranks = ALONE,
) -> tuple[FrozenLM, float]:
    """Load a model; also return its largest error relative to a plain forward pass.

    Raises:
        InputError: it cannot be loaded, its architecture is not supported, or it would be read wrong.
    """
    model = load_model(source, dtype, device, attention, ranks)
    lm = FrozenLM(model, load_tokenizer(source), selection, ranks)
    return lm, check_reading_in_parts(lm)


def check_model(source: ModelSource, numerics: Numerics, selection: Selection) -> CheckedModel:
    """What a run with these numerics would read of a model; errors as `load_checked`."""
    lm, error = load_checked(source, numerics.dtype, numerics.device, numerics.attention, selection)
    return CheckedModel(lm.neurons, lm.attention, error)
