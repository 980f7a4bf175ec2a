"""The loss of a soft prompt over parts of a batch, and its gradient, with the model frozen (Lester et al. 2021).

The text before the prompt does not depend on it, so it is read without gradients, once per part. If the activations
that a part keeps for its gradient do not fit in memory, layers compute them again in the backward pass; if even that
does not fit, the part is halved.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts, read_texts
from skilljobs.lm.kept_texts import KeptTexts, scorers_beside
from skilljobs.lm.losses import example_losses, loss_terms, prompt_loss, right_answers
from skilljobs.lm.memory import free_memory, in_parts, is_out_of_memory
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.recompute import bytes_kept
from skilljobs.lm.texts_ahead import TextsAhead, same_examples
from skilljobs.lm.tuning_batches import Fetch, batches_of_epoch, draw_batch
from skilljobs.lm.tuning_rounds import (
    PartAnswers,
    PartGradient,
    PartLosses,
    PartResult,
    TuneSettings,
    TuningRound,
    part_of,
    parts_of,
)

SHARE_KEPT = 0.5
"""The fraction of the free memory that parts may keep for their gradients; above it, layers recompute activations."""


def default_learning_rate(lm: FrozenLM) -> float:
    """Return a fifth of the embeddings' root mean square.

    Adam moves each coordinate by about its learning rate per step, so this suits the scale of any model.
    """
    ids = torch.arange(min(4096, lm.config.vocab_size), device=lm.device)
    with torch.no_grad():
        embedded = lm.embed(ids[None])[0].float()
        finite = embedded[embedded.isfinite().all(1)]
        return 0.2 * finite.square().mean().sqrt().item()


@dataclass(frozen=True)
class TuningExamples:
    """The examples that a prompt is validated on with their ids, and those to tune on, which may be many."""

    validation: Sequence[TokenizedExample]
    validation_ids: Sequence[str]
    train_count: int
    fetch_train: Fetch
    train_id: Callable[[int], str]


class PromptObjective:
    """What a soft prompt is tuned by. Every part of a round can be computed by any process, with the same bits."""

    def __init__(
        self, lm: FrozenLM, examples: TuningExamples, settings: TuneSettings, kept: KeptTexts | None = None
    ) -> None:
        """`kept`: what keeps texts, shared by all soft prompts that are tuned; one of its own by default."""
        self.lm, self.examples, self.settings = lm, examples, settings
        self._kept = KeptTexts.of(lm) if kept is None else kept
        self._key = object()
        self.recompute: bool | None = None
        """Whether layers recompute the activations that their gradients need; None until that is decided."""
        # examples of like length together, the longest first, so that nobody is left with them in the end
        lengths = [len(example.text) for example in examples.validation]
        self._validated = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
        self._ahead = TextsAhead(lm, allowed=False)
        self._taken: tuple[list[TokenizedExample], CachedTexts] | None = None
        """A part whose texts have been read, and these."""
        self._was_halved = False

    def of_part(self, asked: TuningRound, part: int, reads_ahead: bool = False) -> PartResult:
        """Return what one part says of a soft prompt.

        `reads_ahead`: whether the part after this one is likely to be asked for next, so that its texts may be read
        beside this one where a processor is free.
        """
        vectors = torch.from_numpy(asked.vectors)
        if asked.kind == "gradient":
            return self._gradient_of(vectors, asked.step, part, reads_ahead)
        places = self._validated[part_of(len(self._validated), part, parts_of(asked, self.settings.parts))]
        chosen = [self.examples.validation[place] for place in places]
        ids = tuple(self.examples.validation_ids[place] for place in places)
        if asked.kind == "answers":
            self.close()
            return PartAnswers(ids, tuple(right_answers(self.lm, vectors, chosen, self.settings.batch_tokens)))
        losses = self._validation_losses(vectors, chosen, part)
        terms = [loss_terms([example], self.settings.loss) for example in chosen]
        return PartLosses(ids, tuple(losses), tuple(terms))

    def close(self) -> None:
        """Drop the texts that were read ahead."""
        self._ahead.close()
        self._ahead = TextsAhead(self.lm, allowed=False)

    def loss(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        """The mean loss of a batch, differentiable with respect to `vectors`."""
        taken, self._taken = self._taken, None
        texts = taken[1] if taken is not None and same_examples(taken[0], batch) else None
        return prompt_loss(self.lm, vectors, batch, self.settings.loss, bool(self.recompute), texts)

    def _validation_losses(self, vectors: torch.Tensor, examples: Sequence[TokenizedExample], part: int) -> list[float]:
        loss, tokens = self.settings.loss, self.settings.batch_tokens
        name = (self._key, "validation", part)
        return example_losses(self.lm, vectors, examples, loss, tokens, self._kept, name)

    def _gradient_of(self, vectors: torch.Tensor, step: int, part: int, reads_ahead: bool) -> PartGradient:
        places = self._places(step, part)
        batch = self.examples.fetch_train(places)
        if not batch:
            return PartGradient(0.0, np.zeros(vectors.shape, np.float32), 0)
        if self.recompute is None:
            self.recompute = self.lm.ranks.largest(self._keeps_too_much(vectors, batch)) > 0
        self._take_texts(batch, places)
        self._read_ahead(step, part, reads_ahead)
        self._was_halved = False
        loss, gradient = self._loss_and_gradient(vectors, batch)
        left_out: list[int] = []
        if not _is_finite(loss, gradient):
            each = [self._loss_and_gradient(vectors, [example]) for example in batch]
            finite = [_is_finite(*of_example) for of_example in each]
            left_out = [place for place, is_finite in zip(places, finite, strict=True) if not is_finite]
            batch = [example for example, is_finite in zip(batch, finite, strict=True) if is_finite]
            kept = [one for one, is_finite in zip(each, finite, strict=True) if is_finite]
            loss, gradient = self._mean([[example] for example in batch], kept)
        return PartGradient(
            loss,
            np.asarray(gradient.numpy(), np.float32) if batch else np.zeros(vectors.shape, np.float32),
            loss_terms(batch, self.settings.loss),
            tuple(map(self.examples.train_id, left_out)),
            self._was_halved,
        )

    def _places(self, step: int, part: int) -> list[int]:
        places = draw_batch(self.examples.train_count, self.examples.fetch_train, self.settings.seed, step)
        return places[part_of(len(places), part, self.settings.parts)]

    def _take_texts(self, batch: list[TokenizedExample], places: Sequence[int]) -> None:
        """Take the texts of `batch` if they are kept or have been read ahead; read and keep them if they come again."""
        texts = self._ahead.take(batch)
        if self._come_again:
            name = (self._key, *places)
            if texts is None:
                texts = self._kept.taken_or_read(name, lambda: read_texts(self.lm, batch, unread=0))
            else:
                self._kept.keep(name, texts)
        self._taken = None if texts is None else (batch, texts)

    @property
    def _come_again(self) -> bool:
        """Whether the batches of the first epoch come again."""
        return self.settings.steps > batches_of_epoch(self.examples.train_count)

    def _read_ahead(self, step: int, part: int, reads_ahead: bool) -> None:
        """Begin to read the texts of the part after this one, unless they are kept."""
        if reads_ahead and not self._ahead.is_allowed:
            self._ahead = TextsAhead(self.lm)
        if not self._ahead.is_allowed:
            return
        later, next_part = (step, part + 1) if part + 1 < self.settings.parts else (step + 1, 0)
        if later < self.settings.steps:
            places = self._places(later, next_part)
            if (self._key, *places) not in self._kept:
                self._ahead.begin(self.examples.fetch_train(places))

    def _loss_and_gradient(
        self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]
    ) -> tuple[float, torch.Tensor]:
        """Return the mean loss of a batch and its gradient, computed in halves if memory does not hold it whole."""
        parts = list(in_parts(list(range(len(batch))), lambda part: self._gradient(vectors, [batch[i] for i in part])))
        self._was_halved |= len(parts) > 1
        return self._mean([[batch[place] for place in places] for places, _ in parts], [found for _, found in parts])

    def _mean(
        self, parts: Sequence[Sequence[TokenizedExample]], found: Sequence[tuple[float, torch.Tensor]]
    ) -> tuple[float, torch.Tensor]:
        """The mean loss of all examples and its gradient, from those of each part of them."""
        terms = [loss_terms(part, self.settings.loss) for part in parts]
        loss, gradient = 0.0, torch.zeros(())
        for count, (of_part, gradient_of_part) in zip(terms, found, strict=True):
            share = count / sum(terms)
            loss, gradient = loss + share * of_part, gradient + share * gradient_of_part
        return loss, gradient

    def _gradient(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> tuple[float, torch.Tensor]:
        """Return the mean loss of a batch, and its gradient as float32 on the host."""
        if not self.recompute:
            try:
                return self._kept.giving_way(self._gradient_at_once)(vectors, batch)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.lm.ranks.are_several:
                    raise
            self.recompute = True
        return self._kept.giving_way(self._gradient_at_once)(vectors, batch)

    def _gradient_at_once(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> tuple[float, torch.Tensor]:
        on_device = vectors.detach().to(self.lm.device, copy=True).requires_grad_(True)
        loss = self.loss(on_device, batch)
        (gradient,) = torch.autograd.grad(loss, on_device)
        return loss.item(), gradient.float().cpu()

    def _keeps_too_much(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> bool:
        """Return whether parts would keep too much for their gradients, estimated from one example."""
        on_device = vectors.to(self.lm.device, copy=True).requires_grad_(True)
        try:
            of_example = self._kept.giving_way(bytes_kept)(self.lm.model, lambda: self.loss(on_device, batch[-1:]))
        except RuntimeError as error:
            if not is_out_of_memory(error) or self.lm.ranks.are_several:
                raise
            return True
        return scorers_beside(self.lm) * len(batch) * of_example > SHARE_KEPT * free_memory(self.lm.device)


def _is_finite(loss: float, gradient: torch.Tensor) -> bool:
    return math.isfinite(loss) and bool(gradient.isfinite().all())
