"""The LM head where it is asked for: log-probabilities of single tokens without ever holding all logits.

The vocabulary goes by in blocks that fit the cache, with a running log-sum-exp (Milakov & Gimelshein 2018, "Online
normalizer calculation for softmax"); the gradient with respect to the hidden states is gathered on the way.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import linear

from skilljobs.errors import InputError
from skilljobs.lm.transfer import to_device

LOGITS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 27}
"""Logits held at a time, hidden states x tokens of the vocabulary: 4 MiB fit a CPU's cache."""
SMALLEST_BLOCK = 512


@dataclass(frozen=True)
class LMHead:
    """`weight`: vocabulary x d_model. Logits are `softcap(scale * (hidden @ weight.T + bias))`."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    softcap: float | None

    @classmethod
    def of(cls, module: nn.Module | None, scale: float, softcap: float | None) -> "LMHead":
        """The head that is `module`.

        Raises:
            InputError: it is not a linear layer.
        """
        if not isinstance(module, nn.Linear):
            raise InputError(f"the LM head is {type(module).__name__}, not a linear layer: this model is not supported")
        return cls(module.weight, module.bias, scale, softcap)

    def logits(self, hidden: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Float32 logits of the tokens from `start` to `stop`, as the model's own forward has them."""
        bias = None if self.bias is None else self.bias[start:stop]
        logits = linear(hidden, self.weight[start:stop], bias).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits

    def log_probabilities(self, hidden: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probability of each token `targets[i]` behind the state `hidden[rows[i]]`; differentiable in `hidden`.

        `hidden` is states x d_model; `rows` and `targets` are int64 on the CPU. Returns float32, on `hidden`'s device.
        """
        if int(targets.max()) >= len(self.weight):
            raise InputError(f"token {int(targets.max())} is beyond the LM head's vocabulary of {len(self.weight)}")
        device = hidden.device
        found: torch.Tensor = _LogProbabilities.apply(hidden.to(self.weight.device), rows, targets, self)
        return found.to(device)

    def slope(self, logits: torch.Tensor) -> torch.Tensor | float:
        """Derivative of a logit with respect to the linear layer's output, from the logit."""
        if self.softcap is None:
            return self.scale
        return self.scale * (1 - (logits / self.softcap).square())


class _LogProbabilities(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx,
        hidden: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
        head: LMHead,
    ) -> torch.Tensor:
        device, vocabulary = hidden.device, len(head.weight)
        block = max(SMALLEST_BLOCK, LOGITS_AT_ONCE.get(device.type, 1 << 24) // max(1, len(hidden)))
        order = targets.argsort()
        starts = torch.arange(0, vocabulary + block, block)
        bounds = torch.searchsorted(targets[order], starts).tolist()
        order, rows, targets = (to_device(indices, device) for indices in (order, rows, targets))
        largest = torch.full((len(hidden),), -torch.inf, device=device)
        total = torch.zeros(len(hidden), dtype=torch.float64, device=device)
        picked = torch.empty(len(targets), device=device)
        wanted = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        mean_weight = torch.zeros_like(hidden, dtype=torch.float32) if wanted else None
        for number, start in enumerate(range(0, vocabulary, block)):
            logits = head.logits(hidden, start, start + block)
            here = order[bounds[number] : bounds[number + 1]]
            picked[here] = logits[rows[here], targets[here] - start]
            larger = torch.maximum(largest, logits.amax(1))
            rescale = torch.exp(largest - larger)
            slope = head.slope(logits) if wanted else 1.0
            weights = logits.sub_(larger[:, None]).exp_()
            total = total * rescale + weights.sum(1)
            if mean_weight is not None:
                of_block = head.weight[start : start + block]
                if of_block.dtype == torch.float16:
                    of_block = of_block.float()  # small probabilities would vanish in it, and sums overflow
                weights = (weights * slope).to(of_block.dtype)
                mean_weight = mean_weight * rescale[:, None] + weights @ of_block
            largest = larger
        if mean_weight is not None:
            of_targets = head.weight[targets].float()
            slope = head.slope(picked)
            of_targets = of_targets * (slope[:, None] if isinstance(slope, torch.Tensor) else slope)
            ctx.save_for_backward(of_targets, mean_weight / total[:, None].float(), rows)
        return picked - (largest + total.log())[rows].float()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        of_targets, mean_weight, rows = ctx.saved_tensors  # type: ignore[attr-defined]
        of_hidden = torch.zeros_like(mean_weight)
        of_hidden.index_add_(0, rows, gradient[:, None] * (of_targets - mean_weight[rows]))
        return of_hidden, None, None, None
