"""Changing the activations of neurons in experts.

A router sends a token to some of the experts only, and the activation of the others' neurons is 0 there. What a layer
of experts adds to the stream is a sum over neurons of activation times output direction, so that the difference that a
change makes is added behind the layer, for tokens that the router sends to the expert and for those that it does not.
"""

from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from skilljobs.neurons.changes import Applied, Now
from skilljobs.neurons.experts import LLAMA4, OBSERVER, ExpertNeurons, Handles


def reason_against(site: ExpertNeurons) -> str | None:
    """Why the neurons of these experts cannot be silenced; None if they can."""
    name = type(site.module).__name__
    if name == LLAMA4:
        return f"the neurons of {name} cannot be silenced: the router scales what enters these experts"
    if getattr(site.module, "has_post_expert_norm", False):
        return f"the neurons of {name} cannot be silenced: a norm behind each expert mixes them"
    return None


def change_experts(site: ExpertNeurons, now: Now) -> RemovableHandle:
    """Make the present pass's changes whenever the experts are computed, until removed."""
    module: Any = site.module
    pending: list[_Change] = []

    def forward_begins(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        applied = now()
        if applied is None:
            return
        hidden = arguments[0] if arguments else named["hidden_states"]
        assert OBSERVER not in module.__dict__, "experts are either read or changed in a pass"
        change = _Change(site, applied, hidden.shape[:-1].numel(), hidden)
        module.__dict__[OBSERVER] = change
        pending.append(change)

    def forward_ends(_: Any, __: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        if not pending:
            return None
        del module.__dict__[OBSERVER]
        return pending.pop().added_to(output)

    begins = module.register_forward_pre_hook(forward_begins, with_kwargs=True)
    return Handles([begins, module.register_forward_hook(forward_ends)])


class _Change:
    """The changes of one pass through a layer's experts. It is called as `Observe`."""

    def __init__(self, site: ExpertNeurons, applied: Applied, tokens: int, like: torch.Tensor) -> None:
        self._site, self._applied = site, applied
        self._neurons, self._of_change = applied.change.columns.unique(return_inverse=True)
        self._experts = torch.div(self._neurons, site.width, rounding_mode="floor").tolist()
        self._activations = torch.zeros(tokens, len(self._neurons), dtype=torch.float32, device=like.device)

    def __call__(self, expert: int, rows: torch.Tensor, activations: torch.Tensor, weights: torch.Tensor) -> None:
        columns = [place for place, chosen in enumerate(self._experts) if self._site.chosen[chosen] == expert]
        if columns:
            within = self._neurons[columns] % self._site.width
            weighted = activations[:, within].float() * weights.float()
            self._activations[rows[:, None], torch.tensor(columns, device=rows.device)] = weighted

    def added_to(self, output: torch.Tensor) -> torch.Tensor:
        rows = self._applied.change.rows
        by_row = self._applied.window.at_positions(self._activations)
        old = by_row[rows, :, self._of_change]
        differences = torch.zeros_like(self._activations)
        self._applied.window.at_positions(differences)[rows, :, self._of_change] = self._applied.changed(old) - old
        directions = torch.stack([self._site.output_direction(neuron) for neuron in self._neurons.tolist()])
        return output + (differences @ directions.float()).to(output.dtype).view_as(output)
