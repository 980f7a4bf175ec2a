"""What travels to the scorers and back while a soft prompt is tuned, without torch.

A round is one look at a soft prompt by all parts of a batch. Parts are fixed by the plan, so what is made of their
results has the same bits whoever computed them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TuneSettings:
    """What decides the losses and gradients of soft prompts."""

    steps: int
    """After which tuning ends at the latest."""
    loss: Literal["target", "choices"]
    seed: int
    batch_tokens: int
    """Tokens of a batch of validation examples, padding included."""
    parts: int = 1
    """Into how many parts a step's batch is cut."""


@dataclass(frozen=True)
class TuningRound:
    """What is asked of all parts: the gradient of a step's batch, or the losses or answers of validation examples."""

    kind: Literal["gradient", "losses", "answers"]
    vectors: Floats
    """The soft prompt, P x d_model."""
    step: int = 0
    """The number of steps before this one, for a gradient."""


@dataclass(frozen=True)
class PartGradient:
    """The mean loss of the examples of a part and its gradient (P x d_model); both are 0 if none is finite."""

    loss: float
    gradient: Floats
    terms: int
    """How many terms the mean is over (see `skilljobs.lm.losses.loss_terms`)."""
    left_out: tuple[str, ...] = ()
    """The ids of examples whose loss or gradient is not finite: the mean is over the others."""
    was_halved: bool = False
    """Whether memory did not hold the part whole, which changes the last bits."""


@dataclass(frozen=True)
class PartLosses:
    """What each validation example of a part adds to the loss, and the number of its terms."""

    example_ids: tuple[str, ...]
    losses: tuple[float, ...]
    terms: tuple[int, ...]


@dataclass(frozen=True)
class PartAnswers:
    """Which validation examples of a part are answered correctly; None without choices or finite scores."""

    example_ids: tuple[str, ...]
    are_right: tuple[bool | None, ...]


PartResult = PartGradient | PartLosses | PartAnswers


@dataclass(frozen=True)
class PromptStart:
    """The soft prompt before it is tuned, or the one that is not tuned, and what is known where the model is."""

    prompt: bytes
    """A safetensors file."""
    learning_rate: float
    """That suits the model."""
    train: int
    """How many examples there are to tune on."""
    validation: int
    """How many examples there are to validate on."""


def parts_of(asked: TuningRound, parts: int) -> int:
    """Into how many parts a round is cut, where a step's batch is cut into `parts`.

    The validation examples are cut into more: there are more of them, and no scorer should wait for a long part.
    """
    return parts if asked.kind == "gradient" or parts == 1 else 2 * parts


def part_of(count: int, part: int, parts: int) -> slice:
    """The places of one of `parts` parts of nearly equal size, of `count` in all."""
    return slice(part * count // parts, (part + 1) * count // parts)
