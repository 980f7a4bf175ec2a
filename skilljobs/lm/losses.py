"""What a soft prompt is tuned by: its loss over a batch, with gradients; loss and accuracy over many examples."""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from skilljobs.lm.batch import TokenizedExample, longest
from skilljobs.lm.forward import score_batches
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.recompute import ReadOnlyCache, recomputed
from skilljobs.lm.scores import answer_scores


def prompt_loss(
    lm: FrozenLM,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    loss: Literal["target", "choices"],
    recompute: bool = False,
) -> torch.Tensor:
    """Tuning loss of a batch, differentiable in `vectors` (P x d_model).

    `target`: mean negative log-probability per token of the right answers and their end tokens. `choices`:
    cross-entropy of the right choice under softmax of the summed log-probabilities. With `recompute` the gradient takes
    less memory and more time, where continuations are read as trees.
    """
    if loss == "target":
        batch = [example.with_right_answer_only() for example in batch]
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    cache = lm.new_cache()
    with torch.no_grad():
        lm.run_body(lm.embed(ids), mask, text_positions(mask), cache)
    again = recompute and lm.takes_trees(longest(batch, len(vectors)))
    with recomputed(lm.layers if again else []):
        behind = ReadOnlyCache(cache) if again else cache
        scores = continuation_log_probabilities(lm, ids[:, :0], mask, vectors, batch, behind)
    if loss == "target":
        return -scores.mean()
    lengths = [len(tokens) for example in batch for tokens in example.continuations]
    sums = torch.stack([piece.sum() for piece in scores.split(lengths)])
    of_example = sums.split([len(example.continuations) for example in batch])
    return -torch.stack(
        [torch.log_softmax(s, 0)[example.answer] for s, example in zip(of_example, batch, strict=True)]
    ).mean()


def loss_terms(batch: Sequence[TokenizedExample], loss: Literal["target", "choices"]) -> int:
    """What the loss of a batch is the mean over: the tokens of its right answers, or its examples."""
    return len(batch) if loss == "choices" else sum(len(example.continuations[example.answer]) for example in batch)


def validation_loss(
    lm: FrozenLM,
    vectors: torch.Tensor,
    examples: Sequence[TokenizedExample],
    loss: Literal["target", "choices"],
    batch_tokens: int,
) -> float:
    """The tuning loss over all of `examples`; for `target` only the right answers are run."""
    if loss == "target":
        examples = [example.with_right_answer_only() for example in examples]
    losses = []
    for places, scored in score_batches(lm, vectors, examples, batch_tokens):
        for place, sums in zip(places, scored.log_probabilities, strict=True):
            right = sums[0] if loss == "target" else torch.log_softmax(sums, 0)[examples[place].answer]
            losses.append(-right.item())
    return math.fsum(losses) / loss_terms(examples, loss)


def accuracy(
    lm: FrozenLM, vectors: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> float | None:
    """The fraction of the multiple-choice examples that are answered right; None without any."""
    examples = [example for example in examples if example.is_choice]
    right = 0
    for places, scored in score_batches(lm, vectors, examples, batch_tokens):
        right += sum(bool(score.correct) for score in answer_scores(scored, [examples[place] for place in places]))
    return right / len(examples) if examples else None
