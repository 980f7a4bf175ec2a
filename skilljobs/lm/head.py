"""The LM head, applied only where needed: log-probabilities of single tokens without ever holding all logits.

The vocabulary is processed in blocks that fit in the cache, with a running log-sum-exp (Milakov & Gimelshein 2018,
"Online normalizer calculation for softmax"). The gradient with respect to the hidden states is accumulated in the same
loop.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from skilljobs.errors import InputError
from skilljobs.lm.transfer import to_device

LOGITS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 27}
"""Number of logits held at a time (hidden states x vocabulary tokens), by device type: 4 MiB fit in a CPU's cache."""
SMALLEST_BLOCK = 512
_TRANSFORMS = (
    ("lm_head",), ("generator_predictions",), ("head",), ("vocab_transform", "activation", "vocab_layer_norm"),
)  # fmt: skip
"""The modules that models have beside the last linear layer of their head, in the order of their use."""


@dataclass(frozen=True)
class LMHead:
    """An LM head. Its logits are `softcap(scale * (states @ weight.T + bias))`; `weight` is vocabulary x d_model."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    softcap: float | None

    transform: nn.Module | None = None
    """What hidden states pass through first."""

    @classmethod
    def of(
        cls, module: nn.Module | None, scale: float, softcap: float | None, transform: nn.Module | None = None
    ) -> "LMHead":
        """Return the LM head that `module` implements, behind `transform`.

        Raises:
            InputError: `module` is not a linear layer.
        """
        if not isinstance(module, nn.Linear):
            raise InputError(f"the LM head is {type(module).__name__}, not a linear layer: this model is not supported")
        return cls(module.weight, module.bias, scale, softcap, transform)

    def states(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the linear layer reads, for hidden states of d_model."""
        return hidden if self.transform is None else self.transform(hidden)

    def logits(self, hidden: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Return the float32 logits of the tokens from `start` to `stop` as the model's own forward computes them.

        `hidden` are `states`.
        """
        bias = None if self.bias is None else self.bias[start:stop]
        logits = linear(hidden, self.weight[start:stop], bias).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits

    def log_probabilities(self, hidden: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the log-probability of each token `targets[i]` after the state `hidden[rows[i]]`.

        `hidden` is states x d_model; `rows` and `targets` are int64 on the CPU. The result is float32 on the device of
        `hidden`, and differentiable with respect to `hidden`.

        Raises:
            InputError: A target is not in the LM head's vocabulary.
        """
        if int(targets.max()) >= len(self.weight):
            raise InputError(f"token {int(targets.max())} is beyond the LM head's vocabulary of {len(self.weight)}")
        device = hidden.device
        hidden = self.states(hidden)
        scores: torch.Tensor = _LogProbabilities.apply(hidden.to(self.weight.device), rows, targets, self)
        return scores.to(device)

    def slope(self, logits: torch.Tensor) -> torch.Tensor | float:
        """Return the derivative of logits with respect to the linear layer's output, computed from the logits."""
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
        target_logits = torch.empty(len(targets), device=device)
        needs_gradient = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        mean_weight = torch.zeros_like(hidden, dtype=torch.float32) if needs_gradient else None
        for number, start in enumerate(range(0, vocabulary, block)):
            logits = head.logits(hidden, start, start + block)
            in_block = order[bounds[number] : bounds[number + 1]]
            target_logits[in_block] = logits[rows[in_block], targets[in_block] - start]
            new_largest = torch.maximum(largest, logits.amax(1))
            rescale = torch.exp(largest - new_largest)
            slope = head.slope(logits) if needs_gradient else 1.0
            weights = logits.sub_(new_largest[:, None]).exp_()
            total = total * rescale + weights.sum(1)
            if mean_weight is not None:
                block_weight = head.weight[start : start + block]
                if block_weight.dtype == torch.float16:
                    block_weight = block_weight.float()  # float16 would lose small probabilities and overflow in sums
                weights = (weights * slope).to(block_weight.dtype)
                mean_weight = mean_weight * rescale[:, None] + weights @ block_weight
            largest = new_largest
        if mean_weight is not None:
            target_weight = head.weight[targets].float()
            slope = head.slope(target_logits)
            target_weight = target_weight * (slope[:, None] if isinstance(slope, torch.Tensor) else slope)
            ctx.save_for_backward(target_weight, mean_weight / total[:, None].float(), rows)
        return target_logits - (largest + total.log())[rows].float()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        target_weight, mean_weight, rows = ctx.saved_tensors  # type: ignore[attr-defined]
        hidden_gradient = torch.zeros_like(mean_weight)
        hidden_gradient.index_add_(0, rows, gradient[:, None] * (target_weight - mean_weight[rows]))
        return hidden_gradient, None, None, None


def transform_before_head(model: PreTrainedModel) -> nn.Module | None:
    """Return what stands between a model's body and the last linear layer of its head; None if nothing does."""
    last = model.get_output_embeddings()
    path = next((path for path, module in model.named_modules() if module is last), "")
    parent, _, name = path.rpartition(".")
    if not parent:
        children = dict(model.named_children())
        for names in _TRANSFORMS:
            modules = [children[name] for name in names if name in children]
            if len(modules) == len(names) and last not in modules:
                return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
        return None
    head: nn.Module = copy.copy(model.get_submodule(parent))
    head._modules = {**head._modules, name: nn.Identity()}
    return head
