"""Tuning a soft prompt between the text and the answer, with the model frozen (Lester et al. 2021).

The text before the prompt does not depend on it, so it is read without gradients, once per batch. If the activations
that a step keeps for its gradient do not fit in memory, layers compute them again in the backward pass; if even that
does not fit, the batch is processed in parts.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts
from skilljobs.lm.losses import accuracy, example_losses, loss_terms, prompt_loss
from skilljobs.lm.memory import free_memory, in_parts, is_out_of_memory
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.recompute import bytes_kept
from skilljobs.lm.results import NOT_FINITE_ADVICE, TUNING_BATCH, TuningPoint
from skilljobs.lm.texts_ahead import TextsAhead, same_examples
from skilljobs.lm.tuning_state import TuneSettings, TuningState

VALIDATE_EVERY = 25
PATIENCE = 4
"""The number of validations without an improvement after which tuning stops."""
LEAST_GAIN = 0.01
"""The smallest relative decrease of the loss that counts as an improvement. The best prompt is kept in any case."""
BATCHES_SORTED = 8
"""The number of batches among which examples are sorted by length, to reduce padding."""
WARMUP = 10
SHARE_KEPT = 0.5
"""The fraction of the free memory that a step may keep for its gradient; above it, layers recompute activations."""


def default_learning_rate(lm: FrozenLM) -> float:
    """Return a fifth of the embeddings' root mean square.

    Adam moves each coordinate by about its learning rate per step, so this suits the scale of any model.
    """
    ids = torch.arange(min(4096, lm.config.vocab_size), device=lm.device)
    with torch.no_grad():
        embedded = lm.embed(ids[None])[0].float()
        finite = embedded[embedded.isfinite().all(1)]
        return 0.2 * finite.square().mean().sqrt().item()


class Tuner:
    """Tunes a prompt step by step. `state` can be stored at any validation, and tuning can continue from it."""

    reads_ahead = True
    """Whether the texts of the next step may be read beside a step."""

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
        self.validation = validation
        self.settings = settings
        self._vectors = torch.nn.Parameter(state.vectors.clone())
        self._optimizer = torch.optim.Adam([self._vectors], settings.learning_rate, betas=(0.9, 0.99), eps=1e-12)
        self._optimizer.state[self._vectors] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.first_moment.clone(),
            "exp_avg_sq": state.second_moment.clone(),
        }
        self._ahead = TextsAhead(lm, allowed=False)
        self._taken: tuple[list[TokenizedExample], CachedTexts] | None = None
        """A batch whose texts have been read, and these."""
        self.recompute = False
        """Whether layers recompute the activations that their gradients need."""
        self.left_out: dict[int, TokenizedExample] = {}
        """Examples that were left out because their loss or its gradient is not finite, by Python's `id`."""

    def run(self) -> Iterator[TuningPoint]:
        """Tune until all steps are done or the validation loss stops falling; the best prompt is then `state.best`.

        Yields a validation before the first step; after every `VALIDATE_EVERY` steps, their mean training loss and a
        validation; and finally the validation of the best prompt once more. The first and the last have an accuracy.
        """
        self._ahead = TextsAhead(self.lm, self.reads_ahead)
        try:
            yield from self._points()
        finally:
            self._ahead.close()

    def _points(self) -> Iterator[TuningPoint]:
        state = self.state
        if state.step == 0:
            yield replace(self._validate(), accuracy=self._accuracy())
        if self.train:
            self.recompute = self.lm.ranks.largest(self._keeps_too_much()) > 0
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
        taken, self._taken = self._taken, None
        texts = taken[1] if taken is not None and same_examples(taken[0], batch) else None
        return prompt_loss(self.lm, vectors, batch, self.settings.loss, self.recompute, texts)

    @property
    def _validated(self) -> list[TokenizedExample]:
        without = set(self.state.not_validated)
        return [example for place, example in enumerate(self.validation) if place not in without]

    def validation_loss(self) -> float:
        """Return the loss over the validation examples; infinite if that of one of them is no longer finite.

        Raises:
            JobFailed: the first prompt gives no validation example a finite loss.
        """
        if self.state.step == 0:
            losses = self._example_losses(self.validation)
            self.state.not_validated = tuple(place for place, loss in enumerate(losses) if not math.isfinite(loss))
            self._leave_out(self.validation[place] for place in self.state.not_validated)
            losses = [loss for loss in losses if math.isfinite(loss)]
            if self.validation and not losses:
                raise JobFailed("no validation example has a finite loss", NOT_FINITE_ADVICE)
        else:
            losses = self._example_losses(self._validated)
        if not all(map(math.isfinite, losses)):
            return math.inf
        return math.fsum(losses) / loss_terms(self._validated, self.settings.loss)

    def _example_losses(self, examples: Sequence[TokenizedExample]) -> list[float]:
        settings = self.settings
        return example_losses(self.lm, self.state.vectors, examples, settings.loss, settings.batch_tokens)

    def _leave_out(self, examples: Iterable[TokenizedExample]) -> None:
        self.left_out |= {id(example): example for example in examples}

    def _accuracy(self) -> float | None:
        return accuracy(self.lm, self.state.best, self._validated, self.settings.batch_tokens)

    def _step(self) -> float:
        batch = self._draw(self.state.step)
        texts = self._ahead.take(batch)
        self._taken = None if texts is None else (batch, texts)
        if self.state.step + 1 < self.settings.steps:
            self._ahead.begin(self._draw(self.state.step + 1))
        loss, gradient = self._loss_and_gradient(batch)
        if not _is_finite(loss, gradient):
            finite = [example for example in batch if _is_finite(*self._loss_and_gradient([example]))]
            self._leave_out(example for example in batch if example not in finite)
            if not finite:
                raise JobFailed(
                    f"tuning cannot go on: no example of the batch of step {self.state.step + 1} has a finite loss and"
                    " gradient",
                    f"a smaller --learning-rate may help; {NOT_FINITE_ADVICE}",
                )
            loss, gradient = self._loss_and_gradient(finite)
        self.state.step += 1
        self._update(gradient)
        return loss

    def _loss_and_gradient(self, batch: Sequence[TokenizedExample]) -> tuple[float, torch.Tensor]:
        """Return the loss of a batch and its gradient, computed in parts if memory does not hold it whole."""
        terms = loss_terms(batch, self.settings.loss)

        def run(places: list[int]) -> tuple[float, torch.Tensor]:
            part = [batch[place] for place in places]
            share = loss_terms(part, self.settings.loss) / terms
            loss, gradient = self._gradient(part)
            return share * loss, share * gradient

        parts = [result for _, result in in_parts(list(range(len(batch))), run)]
        gradient = sum((gradient for _, gradient in parts), torch.zeros(()))
        return sum(loss for loss, _ in parts), gradient

    def _gradient(self, batch: Sequence[TokenizedExample]) -> tuple[float, torch.Tensor]:
        """Return the loss of a batch, and its gradient as float32 on the host."""
        if not self.recompute:
            try:
                return self._gradient_at_once(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.lm.ranks.are_several:
                    raise
            self.recompute = True
        return self._gradient_at_once(batch)

    def _gradient_at_once(self, batch: Sequence[TokenizedExample]) -> tuple[float, torch.Tensor]:
        vectors = self.state.vectors.to(self.lm.device).requires_grad_(True)
        loss = self.loss(vectors, batch)
        (gradient,) = torch.autograd.grad(loss, vectors)
        return loss.item(), gradient.float().cpu()

    def _keeps_too_much(self) -> bool:
        """Return whether a step would keep too much for its gradient, estimated from one example of the next batch."""
        vectors = self.state.vectors.to(self.lm.device).requires_grad_(True)
        batch = self._draw(self.state.step)
        try:
            kept = len(batch) * bytes_kept(self.lm.model, lambda: self.loss(vectors, batch[-1:]))
        except RuntimeError as error:
            if not is_out_of_memory(error) or self.lm.ranks.are_several:
                raise
            return True
        return kept > SHARE_KEPT * free_memory(self.lm.device)

    def _update(self, gradient: torch.Tensor) -> None:
        """Take one step of Adam (Kingma & Ba 2015), with warm-up and cosine decay of the learning rate to a tenth."""
        state = self.state
        decay = 0.55 + 0.45 * math.cos(math.pi * state.step / self.settings.steps)
        self._optimizer.param_groups[0]["lr"] = self.settings.learning_rate * min(decay, state.step / WARMUP)
        self._vectors.grad = gradient
        self._optimizer.step()
        moments = self._optimizer.state[self._vectors]
        state.vectors = self._vectors.detach().clone()
        state.first_moment, state.second_moment = moments["exp_avg"], moments["exp_avg_sq"]

    def _draw(self, step: int) -> list[TokenizedExample]:
        """Return the batch of the step that follows `step` steps.

        It is a pure function of seed and step, so that a resumed run draws the same.

        An epoch is a random order of the examples, cut into stretches of `BATCHES_SORTED` batches. Within a stretch,
        examples of similar length are batched together, and the batches come in random order.
        """
        per_epoch = max(1, len(self.train) // TUNING_BATCH)
        epoch, place = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator).tolist()
        stretch, within = divmod(place, BATCHES_SORTED)
        start = stretch * BATCHES_SORTED * TUNING_BATCH
        batches = min(BATCHES_SORTED, per_epoch - stretch * BATCHES_SORTED)
        indices = sorted(order[start : start + batches * TUNING_BATCH], key=lambda index: len(self.train[index].text))
        turn = int(torch.randperm(batches, generator=generator.manual_seed(epoch * 7919 + stretch))[within])
        return [self.train[index] for index in indices[turn * TUNING_BATCH : (turn + 1) * TUNING_BATCH]]

    def _validate(self) -> TuningPoint:
        state = self.state
        loss = self.validation_loss()
        if loss < state.best_loss:
            state.best_loss, state.best_step, state.best = loss, state.step, state.vectors.clone()
        if loss < (1 - LEAST_GAIN) * state.gain_loss:
            state.gain_loss, state.gain_step = loss, state.step
        return TuningPoint(state.step, "validation", loss, None)


def _is_finite(loss: float, gradient: torch.Tensor) -> bool:
    return math.isfinite(loss) and bool(gradient.isfinite().all())
