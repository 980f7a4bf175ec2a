"""Tuning a soft prompt with the model frozen (Lester et al. 2021), the prompt between the text and the answer.

The text in front of the prompt does not depend on it, so it runs without gradients, once a batch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from safetensors.torch import load, save

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.prompt import read_metadata
from skilljobs.lm.scores import answer_scores

BATCH = 16
VALIDATE_EVERY = 25
VALIDATION_EXAMPLES = 128
PATIENCE = 4
"""Validations without a gain after which tuning stops."""
LEAST_GAIN = 0.01
"""The fraction of the loss that counts as a gain. The best prompt is kept whatever its gain."""
BATCHES_SORTED = 8
"""Batches among which examples are sorted by length, to pad less."""
WARMUP = 10


@dataclass(frozen=True)
class TuningPoint:
    """A row of `prompt/tuning.parquet`. `loss` in nats a token (`choices`: a question); `accuracy` where taken."""

    step: int
    split: str
    loss: float
    accuracy: float | None


@dataclass
class TuningState:
    """All that tuning continues from. The vectors are P x d_model, float32."""

    vectors: torch.Tensor
    best: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    gain_loss: float = math.inf
    """Loss and step of the last gain."""
    gain_step: int = 0

    @classmethod
    def start(cls, vectors: torch.Tensor) -> "TuningState":
        return cls(vectors.clone(), vectors.clone(), torch.zeros_like(vectors), torch.zeros_like(vectors))

    def to_bytes(self) -> bytes:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        numbers = {name: repr(value) for name, value in vars(self).items() if name not in tensors}
        return bytes(save(tensors, numbers))

    @classmethod
    def from_bytes(cls, data: bytes) -> "TuningState":
        numbers = read_metadata(data)
        return cls(
            **load(data),
            step=int(numbers["step"]),
            best_loss=float(numbers["best_loss"]),
            best_step=int(numbers["best_step"]),
            gain_loss=float(numbers["gain_loss"]),
            gain_step=int(numbers["gain_step"]),
        )


@dataclass(frozen=True)
class TuneSettings:
    steps: int
    learning_rate: float
    loss: Literal["target", "choices"]
    seed: int
    batch_tokens: int


def default_learning_rate(lm: FrozenLM) -> float:
    """A fifth of the embeddings' root mean square: Adam moves each coordinate by about its rate a step, so this
    suits any model's scale."""
    ids = torch.arange(min(4096, lm.config.vocab_size), device=lm.device)
    with torch.no_grad():
        return 0.2 * lm.embed(ids[None]).float().square().mean().sqrt().item()


class Tuner:
    """Tunes a prompt step by step; `state` can be stored at any validation and continued from."""

    def __init__(
        self,
        lm: FrozenLM,
        state: TuningState,
        train: Sequence[TokenizedExample],
        validation: Sequence[TokenizedExample],
        settings: TuneSettings,
    ) -> None:
        self.lm = lm
        self.state = state
        self.train = train
        self.validation = validation[:VALIDATION_EXAMPLES]
        self.settings = settings

    def run(self) -> Iterator[TuningPoint]:
        """Tune until the steps are done or the validation loss stops falling; the best prompt is in `state.best`.

        Yields the validation before the first step, after every `VALIDATE_EVERY` steps their mean training loss and a
        validation, and at last that of the best prompt once more. The first and the last have an accuracy.
        """
        state = self.state
        if state.step == 0:
            yield replace(self._validate(), accuracy=self._accuracy())
        losses: list[float] = []
        while state.step < self.settings.steps:
            if state.step - state.gain_step >= PATIENCE * VALIDATE_EVERY:
                break
            losses.append(self._step())
            if state.step % VALIDATE_EVERY == 0 or state.step == self.settings.steps:
                yield TuningPoint(state.step, "train", math.fsum(losses) / len(losses), None)
                losses.clear()
                yield self._validate()
        yield TuningPoint(state.best_step, "validation", state.best_loss, self._accuracy())

    def loss(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        return prompt_loss(self.lm, vectors, batch, self.settings.loss)

    def validation_loss(self) -> float:
        settings = self.settings
        return validation_loss(self.lm, self.state.vectors, self.validation, settings.loss, settings.batch_tokens)

    def _accuracy(self) -> float | None:
        return accuracy(self.lm, self.state.best, self.validation, self.settings.batch_tokens)

    def _step(self) -> float:
        state = self.state
        vectors = state.vectors.to(self.lm.device).requires_grad_(True)
        loss = self.loss(vectors, self._draw())
        (gradient,) = torch.autograd.grad(loss, vectors)
        state.step += 1
        self._adam(gradient.float().cpu())
        return loss.item()

    def _adam(self, gradient: torch.Tensor) -> None:
        """One step of Adam (Kingma & Ba 2015), with warm-up and cosine decay of the rate to a tenth."""
        state, beta1, beta2 = self.state, 0.9, 0.99
        state.first_moment.lerp_(gradient, 1 - beta1)
        state.second_moment.lerp_(gradient.square(), 1 - beta2)
        mean = state.first_moment / (1 - beta1**state.step)
        spread = (state.second_moment / (1 - beta2**state.step)).sqrt()
        decay = 0.55 + 0.45 * math.cos(math.pi * state.step / self.settings.steps)
        rate = self.settings.learning_rate * min(decay, state.step / WARMUP)
        state.vectors = state.vectors - rate * mean / (spread + 1e-12)

    def _draw(self) -> list[TokenizedExample]:
        """The batch of the next step: a pure function of seed and step, so that a continued run draws the same.

        An epoch is a random order of the examples, cut into stretches; the batches of a stretch are of like lengths,
        and themselves in random order.
        """
        per_epoch = max(1, len(self.train) // BATCH)
        epoch, place = divmod(self.state.step, per_epoch)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator).tolist()
        stretch, within = divmod(place, BATCHES_SORTED)
        start = stretch * BATCHES_SORTED * BATCH
        batches = min(BATCHES_SORTED, per_epoch - stretch * BATCHES_SORTED)
        indices = sorted(order[start : start + batches * BATCH], key=lambda index: len(self.train[index].text))
        turn = int(torch.randperm(batches, generator=generator.manual_seed(epoch * 7919 + stretch))[within])
        return [self.train[index] for index in indices[turn * BATCH : (turn + 1) * BATCH]]

    def _validate(self) -> TuningPoint:
        state = self.state
        loss = self.validation_loss()
        if loss < state.best_loss:
            state.best_loss, state.best_step, state.best = loss, state.step, state.vectors.clone()
        if loss < (1 - LEAST_GAIN) * state.gain_loss:
            state.gain_loss, state.gain_step = loss, state.step
        return TuningPoint(state.step, "validation", loss, None)


def prompt_loss(
    lm: FrozenLM, vectors: torch.Tensor, batch: Sequence[TokenizedExample], loss: Literal["target", "choices"]
) -> torch.Tensor:
    """Tuning loss of a batch, differentiable in `vectors` (P x d_model).

    `target`: mean negative log-probability per token of the right answers and their end tokens. `choices`:
    cross-entropy of the right choice under softmax of the summed log-probabilities.
    """
    if loss == "target":
        batch = [example.with_right_answer_only() for example in batch]
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    cache = lm.new_cache()
    with torch.no_grad():
        lm.run_body(lm.embed(ids), mask, text_positions(mask), cache)
    scores = continuation_log_probabilities(lm, ids[:, :0], mask, vectors, batch, cache)
    if loss == "target":
        return -scores.mean()
    lengths = [len(tokens) for example in batch for tokens in example.continuations]
    sums = torch.stack([piece.sum() for piece in scores.split(lengths)])
    of_example = sums.split([len(example.continuations) for example in batch])
    return -torch.stack(
        [torch.log_softmax(s, 0)[example.answer] for s, example in zip(of_example, batch, strict=True)]
    ).mean()


def validation_loss(
    lm: FrozenLM,
    vectors: torch.Tensor,
    examples: Sequence[TokenizedExample],
    loss: Literal["target", "choices"],
    batch_tokens: int,
) -> float:
    """The tuning loss over all of `examples`; for `target` only the right answers are run."""
    vectors = vectors.to(lm.device, lm.dtype)
    if loss == "target":
        examples = [example.with_right_answer_only() for example in examples]
    losses, weights = [], []
    for batch in plan_batches(examples, len(vectors), batch_tokens):
        members = [examples[index] for index in batch]
        scored = score_batch(lm, vectors, members, None)
        for example, sums, counts in zip(members, scored.log_probabilities, scored.token_counts, strict=True):
            if loss == "target":
                losses.append(-sums[0].item())
                weights.append(counts[0])
            else:
                losses.append(-torch.log_softmax(sums, 0)[example.answer].item())
                weights.append(1)
    return math.fsum(losses) / sum(weights)


def accuracy(
    lm: FrozenLM, vectors: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> float | None:
    """The fraction of the multiple-choice examples that are answered right; None without any."""
    vectors = vectors.to(lm.device, lm.dtype)
    examples = [example for example in examples if example.is_choice]
    right = 0
    for batch in plan_batches(examples, len(vectors), batch_tokens):
        members = [examples[index] for index in batch]
        right += sum(bool(score.correct) for score in answer_scores(score_batch(lm, vectors, members, None), members))
    return right / len(examples) if examples else None
