"""What tuning and reading a model give, as plain types that need no torch."""

from dataclasses import dataclass

NOT_FINITE_ADVICE = "--dtype float32 (or bfloat16) may hold what this type does not, or the model itself is damaged"
"""What to do if activations, scores or losses are NaN or infinite."""

TUNING_BATCH = 16
"""Train examples of a tuning step."""


@dataclass(frozen=True)
class TuningPoint:
    """A row of `prompt/tuning.parquet`.

    `loss` is in nats per token (with `--tune-loss choices`, per question); `accuracy` is None where it was not taken.
    """

    step: int
    split: str
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class TokenEffect:
    """How a neuron of positive activation moves a token's logit, relative to the other tokens."""

    layer: int
    expert: int | None
    neuron: int
    token: str
    logit: float
