"""Scoring a batch: text and prompt are read once, then the continuations; logits are computed only where needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.masked import label_log_probabilities, prompt_window
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.prefix import Prefix
from skilljobs.lm.transfer import HostCopy
from skilljobs.neurons.sites import TokenMode, Window, capture_activations


@dataclass(frozen=True)
class ScoredBatch:
    """Activations and scores of a batch.

    `activations` holds one float64 tensor per layer, batch x tokens x neurons. `token_counts` holds, for each example,
    the number of tokens of each continuation. `token_log_probabilities` holds the log-probabilities of all these
    tokens, one continuation after another; `finite`, layers x batch, says whether all activations of an example are
    finite. Both may still be on their way to the host.
    """

    activations: list[torch.Tensor]
    token_log_probabilities: HostCopy
    token_counts: list[list[int]]
    finite: HostCopy | None = None
    """None if no neuron was read."""
    exact: list[bool] | None = None
    """Whether the model's own answer to each example is the right one; None if it was not asked."""

    @cached_property
    def log_probabilities(self) -> list[torch.Tensor]:
        """For each example, the summed float64 log-probability of each continuation. Waits for the model to finish."""
        flat = self.token_log_probabilities.wait()
        ends = list(accumulate(count for counts in self.token_counts for count in counts))
        sums = torch.from_numpy(np.add.reduceat(flat.double().numpy(), [0, *ends[:-1]]))
        return list(sums.split(list(map(len, self.token_counts))))

    @cached_property
    def not_finite(self) -> dict[int, int | None]:
        """The examples that have an activation or a score that is NaN or infinite, by their place in the batch.

        Each with the first layer of such an activation; None if only its score is not finite.
        """
        found: dict[int, int | None] = {
            row: None for row, sums in enumerate(self.log_probabilities) if not bool(sums.isfinite().all())
        }
        if self.finite is not None:
            layers, rows = torch.nonzero(~self.finite.wait(), as_tuple=True)
            for layer, row in zip(reversed(layers.tolist()), reversed(rows.tolist()), strict=True):
                found[row] = layer
        return found


@torch.inference_mode()
def score_batch(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    tokens: TokenMode | None,
    prefix: Prefix | None = None,
) -> ScoredBatch:
    """Read the neurons at the prompt positions and score every continuation of `batch`.

    `prompt` is P x d_model on the model's device, in its dtype. If `tokens` is None, no neuron is read. `prefix` is the
    common beginning of all texts, which the model has already read. Where continuations are read as trees, the call
    returns without waiting for a GPU to finish.
    """
    score = _score_masked if lm.is_masked else _score_causal
    scores, activations = score(lm, prompt, batch, tokens, prefix)
    gathered = [layer.to(lm.device, non_blocking=True) for layer in activations]
    return ScoredBatch(
        activations=gathered,
        token_log_probabilities=HostCopy(scores),
        token_counts=[[len(continuation) for continuation in example.continuations] for example in batch],
        finite=HostCopy(lm.ranks.all(are_finite(gathered))) if gathered else None,
    )


def are_finite(activations: Sequence[torch.Tensor]) -> torch.Tensor:
    """Whether those of each layer and example are all finite: layers x batch, on the device of the first layer."""
    # a sum in float64 of values of at most 32 bits is finite if and only if all of them are
    device = activations[0].device
    return torch.stack([layer.flatten(1).sum(1).isfinite().to(device) for layer in activations])


def _score_causal(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    tokens: TokenMode | None,
    prefix: Prefix | None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    cached = prefix.length if prefix else 0
    ids, mask = left_padded([example.text[cached:] for example in batch], 0, lm.device)
    mask = torch.nn.functional.pad(mask, (cached, 0), value=True)
    cache = prefix.expanded_cache(len(batch)) if prefix else None
    prompt_end = ids.shape[1] + len(prompt)
    positions = slice(prompt_end - max(1, len(prompt)), prompt_end)
    window = Window(len(ids), positions, tokens or "mean")
    with capture_activations(lm.sites if tokens else [], window) as activations:
        scores = continuation_log_probabilities(lm, ids, mask, prompt, batch, cache)
    return scores, activations


def _score_masked(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    tokens: TokenMode | None,
    prefix: Prefix | None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    assert prefix is None, "nothing of a row can be read before the rest of it"
    window = prompt_window(lm, len(batch), len(prompt), tokens or "mean")
    with capture_activations(lm.sites if tokens else [], window) as activations:
        scores = label_log_probabilities(lm, prompt, batch)
    return scores, activations


def score_batches(
    lm: FrozenLM, prompt: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> Iterator[tuple[list[int], ScoredBatch]]:
    """Score every continuation of `examples`, batch by batch, without reading neurons.

    `prompt` is P x d_model. Yields each scored batch after the indices of its examples. A batch that does not fit in
    memory is scored in parts.
    """
    prompt = prompt.to(lm.device, lm.dtype)
    for batch in plan_batches(examples, len(prompt), batch_tokens):
        yield from in_parts(batch, lambda part: score_batch(lm, prompt, [examples[index] for index in part], None))
