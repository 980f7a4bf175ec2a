"""Objectives of tuning a soft prompt: the differentiable loss of a batch; loss and accuracy over many examples."""

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Literal

import torch

from skilljobs.lm.batch import TokenizedExample, longest_sequence, plan_batches
from skilljobs.lm.cached_texts import CachedTexts, read_texts
from skilljobs.lm.forward import score_batches
from skilljobs.lm.kept_texts import KeptTexts
from skilljobs.lm.masked import label_log_probabilities
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.recompute import ReadOnlyCache, activation_checkpointing
from skilljobs.lm.scores import answer_scores


def prompt_loss(
    lm: FrozenLM,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    loss: Literal["target", "choices"],
    recompute: bool = False,
    texts: CachedTexts | None = None,
) -> torch.Tensor:
    """Return the tuning loss of a batch, differentiable with respect to `vectors` (P x d_model).

    `texts` are those of the batch, if they have been read already; they cannot be used again.

    The loss `target` is the mean negative log-probability per token of the right answers and their end tokens;
    `choices` is the cross-entropy of the right choice under the softmax of the summed log-probabilities. With
    `recompute`, the gradient takes less memory and more time in a masked language model, and in one that reads
    continuations as trees; otherwise it has no effect.
    """
    if loss == "target":
        batch = [example.with_right_answer_only() for example in batch]
    if lm.is_masked:
        with activation_checkpointing(lm.layers if recompute else []):
            scores = label_log_probabilities(lm, vectors, batch)
    else:
        scores = _continuation_scores(lm, vectors, batch, recompute, texts)
    if loss == "target":
        return -scores.mean()
    choice_sums = _sums_of_each(scores, batch)
    return -torch.stack(
        [torch.log_softmax(s, 0)[example.answer] for s, example in zip(choice_sums, batch, strict=True)]
    ).mean()


def _sums_of_each(scores: torch.Tensor, batch: Sequence[TokenizedExample]) -> Sequence[torch.Tensor]:
    """The sum over each continuation of an example, for all examples; `scores` has one number a token."""
    lengths = [len(tokens) for example in batch for tokens in example.continuations]
    sums = torch.stack([piece.sum() for piece in scores.split(lengths)])
    return list(sums.split([len(example.continuations) for example in batch]))


def _continuation_scores(
    lm: FrozenLM,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    recompute: bool,
    texts: CachedTexts | None,
) -> torch.Tensor:
    """The log-probabilities of all continuation tokens, of which the texts alone are read without gradients."""
    texts = read_texts(lm, batch, unread=0) if texts is None else texts
    assert texts.cache is not None, "no text is empty"
    checkpointing = recompute and lm.takes_trees(longest_sequence(batch, len(vectors)))
    with activation_checkpointing(lm.layers if checkpointing else []):
        text_cache = ReadOnlyCache(texts.cache) if checkpointing else texts.cache
        return continuation_log_probabilities(lm, texts.ids, texts.mask, vectors, batch, text_cache)


def loss_terms(batch: Sequence[TokenizedExample], loss: Literal["target", "choices"]) -> int:
    """Return the number of terms that the loss of a batch averages: tokens of its right answers, or examples."""
    return len(batch) if loss == "choices" else sum(len(example.continuations[example.answer]) for example in batch)


def example_losses(
    lm: FrozenLM,
    vectors: torch.Tensor,
    examples: Sequence[TokenizedExample],
    loss: Literal["target", "choices"],
    batch_tokens: int,
    kept: KeptTexts | None = None,
    name: Hashable = None,
) -> list[float]:
    """Return what each example adds to the tuning loss, before it is divided by `loss_terms`.

    Their texts are kept under `name`, if something is given that keeps them.
    """
    kept = KeptTexts(0) if kept is None else kept
    if loss == "target":
        examples = [example.with_right_answer_only() for example in examples]
    losses = [math.nan] * len(examples)
    for indices, sums_of_each in _continuation_sums(lm, vectors, examples, batch_tokens, kept, name):
        for index, sums in zip(indices, sums_of_each, strict=True):
            right = sums[0] if loss == "target" else torch.log_softmax(sums, 0)[examples[index].answer]
            losses[index] = -right.item()
    return losses


def _continuation_sums(
    lm: FrozenLM,
    vectors: torch.Tensor,
    examples: Sequence[TokenizedExample],
    batch_tokens: int,
    kept: KeptTexts,
    name: Hashable,
) -> Iterator[tuple[list[int], Sequence[torch.Tensor]]]:
    """The indices of a batch, and of each of its examples the summed log-probabilities of its continuations."""
    if lm.is_masked:
        for indices, scored in score_batches(lm, vectors, examples, batch_tokens):
            yield indices, scored.log_probabilities
        return

    @torch.no_grad()
    def run(part: list[int]) -> Sequence[torch.Tensor]:
        batch = [examples[index] for index in part]
        texts = kept.taken_or_read((name, *part), lambda: read_texts(lm, batch, unread=0))
        return _sums_of_each(_continuation_scores(lm, vectors, batch, False, texts).double(), batch)

    for batch in plan_batches(examples, len(vectors), batch_tokens):
        yield from in_parts(batch, kept.giving_way(run))


def right_answers(
    lm: FrozenLM, vectors: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> list[bool | None]:
    """Return whether each example is answered correctly; None if it has no choices, or scores that are not finite."""
    places = [place for place, example in enumerate(examples) if example.is_choice]
    asked = [examples[place] for place in places]
    right: list[bool | None] = [None] * len(examples)
    for indices, scored in score_batches(lm, vectors, asked, batch_tokens):
        for row, score in enumerate(answer_scores(scored, [asked[index] for index in indices])):
            if row not in scored.not_finite:
                right[places[indices[row]]] = bool(score.correct)
    return right
