"""Scoring a batch: text and prompt once, the continuations behind them, logits only where they are scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.ffn import TokenMode, neurons_read
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.prefix import Prefix
from skilljobs.lm.transfer import HostCopy


@dataclass(frozen=True)
class ScoredBatch:
    """`activations`: a float64 tensor a layer, batch x tokens x neurons. `token_counts`: for each example the tokens of
    each continuation; `of_tokens` their log-probabilities one after another, on their way to the host."""

    activations: list[torch.Tensor]
    of_tokens: HostCopy
    token_counts: list[list[int]]

    @cached_property
    def log_probabilities(self) -> list[torch.Tensor]:
        """For each example the summed log-probability of each continuation, float64; waits until the model is done."""
        of_tokens = self.of_tokens.wait()
        ends = list(accumulate(count for of_example in self.token_counts for count in of_example))
        sums = torch.from_numpy(np.add.reduceat(of_tokens.double().numpy(), [0, *ends[:-1]]))
        return list(sums.split(list(map(len, self.token_counts))))


@torch.inference_mode()
def score_batch(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    tokens: TokenMode | None,
    prefix: Prefix | None = None,
) -> ScoredBatch:
    """Read the neurons at the prompt positions and score every continuation of `batch`.

    `prompt` is P x d_model on the model's device, in its dtype. With `tokens` None no neuron is read. `prefix` is what
    all texts begin with, read before. Where continuations are read as trees a GPU is not waited for.
    """
    known = prefix.length if prefix else 0
    ids, mask = left_padded([example.text[known:] for example in batch], 0, lm.device)
    mask = torch.nn.functional.pad(mask, (known, 0), value=True)
    cache = prefix.cache_of(len(batch)) if prefix else None
    front = ids.shape[1] + len(prompt)
    read = slice(front - max(1, len(prompt)), front)
    with neurons_read(lm.projections if tokens else [], read, tokens or "mean") as activations:
        scores = continuation_log_probabilities(lm, ids, mask, prompt, batch, cache)
    return ScoredBatch(
        activations=[layer.to(lm.device, non_blocking=True) for layer in activations],
        of_tokens=HostCopy(scores),
        token_counts=[[len(tokens) for tokens in example.continuations] for example in batch],
    )


def score_batches(
    lm: FrozenLM, prompt: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> Iterator[tuple[list[int], ScoredBatch]]:
    """Score every continuation of `examples`, batch by batch, and read no neuron; each batch with its places.

    `prompt` is P x d_model. A batch that memory does not hold is scored in parts.
    """
    prompt = prompt.to(lm.device, lm.dtype)
    for batch in plan_batches(examples, len(prompt), batch_tokens):
        yield from in_parts(batch, lambda part: score_batch(lm, prompt, [examples[place] for place in part], None))
