"""The neurons of mixtures of experts, read where the experts are computed.

transformers runs the experts of most architectures through a registry (`transformers.integrations.moe`). The forward
pass that is registered here computes the same, expert by expert, and lets the activations be read: an activation is
what enters the expert's down projection, times the weight that the router gives to the expert for that token, and 0
for tokens that the router does not send there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from skilljobs.neurons.sites import Keep, Window, selected

IMPLEMENTATION = "skilljobs"
LLAMA4 = "Llama4TextExperts"
"""The class of experts that read every token, scaled by the router before the up projection instead of behind it."""
OBSERVER = "skilljobs_observer"
"""The attribute of a module of experts that holds what observes them in the present pass."""

Observe = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], None]
"""Called with an expert, the rows of the flattened batch that it reads, and its activations and weights there."""


def registered_forward(
    module: nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """The sum of the chosen experts' weighted outputs, tokens x d_model.

    `hidden_states` is tokens x d_model; `top_k_index` and `top_k_weights` are tokens x experts a token.
    """
    experts: Any = module
    observe: Observe | None = module.__dict__.get(OBSERVER)
    up_name = "gate_up_proj" if experts.has_gate else "up_proj"
    up, up_bias = getattr(experts, up_name), getattr(experts, f"{up_name}_bias") if experts.has_bias else None
    down_bias = experts.down_proj_bias if experts.has_bias else None
    output = torch.zeros_like(hidden_states)
    for expert in top_k_index.unique().tolist():
        if expert >= experts.num_experts:  # stands for an expert on another device
            continue
        rows, slots = torch.where(top_k_index == expert)
        weights = top_k_weights[rows, slots, None]
        before = _project(experts, hidden_states[rows], up, up_bias, expert)
        activations = experts._apply_gate(before) if experts.has_gate else experts.act_fn(before)
        if observe is not None:
            observe(expert, rows, activations, weights)
        states = _project(experts, activations, experts.down_proj, down_bias, expert)
        if experts.has_post_expert_norm:
            states = experts.post_expert_norm(states)
        output.index_add_(0, rows, (states * weights).to(output.dtype))
    return output


def _project(
    experts: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, expert: int
) -> torch.Tensor:
    matrix = weight[expert].T if experts.is_transposed else weight[expert]
    return linear(states, matrix, None if bias is None else bias[expert])


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, registered_forward)


def uses_registry(module: nn.Module) -> bool:
    """Whether a module's experts are computed through the registry of transformers."""
    return hasattr(module, "_is_expert_parallel") and hasattr(module, "is_transposed")


def read_through_registry(model: PreTrainedModel) -> None:
    """Have a model compute its experts by `registered_forward` from now on."""
    model.set_experts_implementation(IMPLEMENTATION)


@contextmanager
def experts_of_transformers(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, a model's experts are computed as its own code does, and cannot be read."""
    is_read = model.config._experts_implementation == IMPLEMENTATION
    if is_read:
        model.set_experts_implementation("eager")
    try:
        yield
    finally:
        if is_read:
            read_through_registry(model)


@dataclass(frozen=True)
class ExpertNeurons:
    """The neurons of the experts `chosen` of one layer, expert after expert."""

    module: nn.Module
    chosen: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of experts in the layer, chosen or not."""
        return len(self.down)

    @property
    def width(self) -> int:
        """The number of neurons of one expert."""
        return int(self.down.shape[1 if self.is_transposed else 2])

    @property
    def width_here(self) -> int:
        """The number of neurons of one expert that this process holds: a part, if several ranks share the model."""
        down = self.down.to_local() if isinstance(self.down, DTensor) else self.down
        return int(down.shape[1 if self.is_transposed else 2])

    @property
    def is_transposed(self) -> bool:
        return bool(getattr(self.module, "is_transposed", True))

    @property
    def down(self) -> torch.Tensor:
        """The down projections: experts x neurons x d_model if transposed, or else experts x d_model x neurons."""
        down: torch.Tensor = self.module.down_proj  # type: ignore[assignment]
        return down

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`."""
        if type(self.module).__name__ == LLAMA4:
            return self._read_scaled(window, keep)

        def forward_begins(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            hidden = arguments[0] if arguments else named["hidden_states"]
            self.module.__dict__[OBSERVER] = _Collector(self, window, hidden)

        def forward_ends(*_: Any) -> None:
            collector = self.module.__dict__.pop(OBSERVER)
            if collector.was_called:
                keep(collector.values)

        begins = self.module.register_forward_pre_hook(forward_begins, with_kwargs=True)
        ends = self.module.register_forward_hook(forward_ends)
        return Handles([begins, ends])

    def _read_scaled(self, window: Window, keep: Keep) -> RemovableHandle:
        module: Any = self.module

        def keep_neurons(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            states = arguments[0].view(self.count, window.batch_size, -1, module.hidden_size)
            parts = []
            for expert in self.chosen:
                gate, up = (states[expert][:, window.positions] @ module.gate_up_proj[expert]).chunk(2, dim=-1)
                parts.append(window.reduced(up * module.act_fn(gate)))
            keep(torch.cat(parts, -1))

        return self.module.register_forward_pre_hook(keep_neurons)

    def output_direction(self, neuron: int) -> torch.Tensor:
        """See `Site`."""
        expert, place = divmod(neuron, self.width)
        return selected(self.down, 1 if self.is_transposed else 2, place)[self.chosen[expert]]

    def directions(self, place: int) -> torch.Tensor:
        """The output directions of the neurons of one of the chosen experts: neurons x d_model."""
        down = self.down[self.chosen[place]]
        return down if self.is_transposed else down.T


class _Collector:
    """The activations of a layer's chosen experts during one pass. It is called as `Observe`."""

    def __init__(self, site: ExpertNeurons, window: Window, hidden: torch.Tensor) -> None:
        tokens = hidden.shape[:-1].numel()
        self._length = tokens // window.batch_size
        self._start, self._stop, _ = window.positions.indices(self._length)
        self._window, self._width = window, site.width_here
        self._columns = {expert: place * self._width for place, expert in enumerate(site.chosen)}
        kept = self._stop - self._start if window.tokens == "each" else 1
        self.values = torch.zeros(
            window.batch_size, kept, len(site.chosen) * self._width, dtype=torch.float64, device=hidden.device
        )
        self.was_called = False

    def __call__(self, expert: int, rows: torch.Tensor, activations: torch.Tensor, weights: torch.Tensor) -> None:
        self.was_called = True
        column = self._columns.get(expert)
        if column is None:
            return
        sequences, positions = rows // self._length, rows % self._length
        inside = (positions >= self._start) & (positions < self._stop)
        shape = self._window.batch_size, self._stop - self._start, self._width
        at_window = torch.zeros(shape, dtype=torch.float64, device=rows.device)
        weighted = activations[inside].detach().double() * weights[inside].detach().double()
        at_window[sequences[inside], positions[inside] - self._start] = weighted
        self.values[..., column : column + self._width] = self._window.reduced(at_window)


class Handles(RemovableHandle):
    """Several handles that are removed together."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
