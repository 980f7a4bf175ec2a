"""What setting each neuron to its mean at the soft prompt would do to an outcome, to first order.

One backward pass gives (mean - activation) times the derivative of the outcome for every neuron at once. This is
attribution patching (Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale"; Syed, Rager & Conmy
2023, arXiv 2310.10348), with the mean in place of another example's activations. It is a linear approximation: where
the outcome is curved between an activation and its mean, it is off, and nothing in it says so.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import read_texts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.position_kinds import only_prompt, prompt_kinds
from skilljobs.neurons.sites import ProjectionInput, Window, not_called
from skilljobs.stats.effect_sums import Outcome


@dataclass(frozen=True)
class FirstOrderEffects:
    """The estimated effects of a batch: `layers` has one float64 tensor per layer, batch x neurons.

    `outcomes` (float64) has the outcome of each example as it is, and `finite` says where that and all of an example's
    effects are finite.
    """

    layers: list[torch.Tensor]
    outcomes: torch.Tensor
    finite: torch.Tensor


def first_order_effects(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    means: Sequence[torch.Tensor],
    outcome: Outcome,
) -> FirstOrderEffects:
    """Estimate how `outcome` changes, in nats, if each neuron alone has its mean at all positions of the prompt.

    `prompt` is P x d_model on the model's device, in its dtype; if it is empty, the last token of the text stands for
    it. `means` has one tensor for each layer, of which the first max(1, P) rows are the means of its neurons at those
    positions. The wrong choice that the margin is about is the best one of the model as it is, and stays the same.

    Raises:
        InputError: the model or its units are not of a kind that this is right for (see `check_differentiable`), or the
            margin is asked for and an example has no choices.
    """
    check_differentiable(lm)
    if outcome == "margin" and not all(example.is_choice for example in batch):
        raise InputError("the margin is of examples with choices: --outcome target_logprob")
    texts = read_texts(lm, batch, unread=0 if len(prompt) else 1)
    reading = _PromptInputs(lm, len(prompt))
    with torch.enable_grad(), reading.hooked():
        scores = continuation_log_probabilities(
            lm, texts.ids, texts.mask, prompt.detach(), batch, texts.copied_cache(1), watcher=reading
        )
        outcomes = _outcomes(scores, batch, outcome)
        gradients = torch.autograd.grad(outcomes.sum(), reading.inputs)
    layers = []
    with torch.no_grad():
        for values, gradient, mean in zip(reading.inputs, gradients, means, strict=True):
            activations, slope = (reading.window.at_positions(part).double() for part in (values, gradient))
            change = mean[: prompt_kinds(len(prompt))].to(activations) - activations
            layers.append((change * slope).sum(1).to(lm.device))
    outcomes = outcomes.detach()
    finite = torch.stack([outcomes.isfinite(), *(layer.isfinite().all(1) for layer in layers)]).all(0)
    return FirstOrderEffects(layers, outcomes, finite)


def check_differentiable(lm: FrozenLM) -> None:
    """Refuse what effects cannot be estimated for.

    Raises:
        InputError: a masked language model, a mixture of experts, or units other than neurons.
    """
    name = type(lm.model).__name__
    if lm.is_masked:
        raise InputError(f"{name} is a masked language model, for which effects are not estimated")
    for layer in lm.sites:
        if layer.neurons.experts:
            raise InputError(f"{name} is a mixture of experts, for whose neurons effects are not estimated")
        if len(layer.sites) != 1 or not isinstance(layer.sites[0], ProjectionInput):
            raise InputError("effects are estimated for the neurons of FFNs, and for no other units (--units neurons)")


def _outcomes(scores: torch.Tensor, batch: Sequence[TokenizedExample], outcome: Outcome) -> torch.Tensor:
    """The outcome of each example, float64, from the log-probabilities of all tokens of all continuations."""
    lengths = [len(tokens) for example in batch for tokens in example.continuations]
    sums = torch.stack([piece.sum() for piece in scores.double().split(lengths)])
    found = []
    for example, choices in zip(batch, sums.split([len(e.continuations) for e in batch]), strict=True):
        right = choices[example.answer]
        if outcome == "margin":
            wrong = choices.detach().clone()
            wrong[example.answer] = -torch.inf
            right = right - choices[wrong.argmax()]
        found.append(right)
    return torch.stack(found)


class _PromptInputs:
    """Keeps the inputs of all down projections in the pass that reads the prompt, as points of the gradient."""

    def __init__(self, lm: FrozenLM, prompt_length: int) -> None:
        self._lm, self._prompt_length = lm, prompt_length
        self._found: dict[int, torch.Tensor] = {}
        self._reads_prompt = False
        self.window = Window(0, slice(0, 0), "each")

    @property
    def inputs(self) -> list[torch.Tensor]:
        """One for each layer.

        Raises:
            InputError: a layer's FFN was not called as a module.
        """
        for number, layer in enumerate(self._lm.sites):
            if number not in self._found:
                raise not_called(layer)
        return [self._found[number] for number in range(len(self._lm.sites))]

    def begin_pass(self, kinds: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """See `PassWatcher`. The prompt stands in the same columns in all rows, since texts are padded on the left."""
        columns = (only_prompt(kinds, self._prompt_length) >= 0).any(0).nonzero().flatten().tolist()
        self._reads_prompt = bool(columns)
        if columns:
            self.window = Window(len(kinds), slice(columns[0], columns[-1] + 1), "each")

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep what is read inside the block."""
        with ExitStack() as stack:
            for number, layer in enumerate(self._lm.sites):
                site = layer.sites[0]
                assert isinstance(site, ProjectionInput)
                handle: RemovableHandle = site.projection.register_forward_pre_hook(partial(self._keep, number))
                stack.callback(handle.remove)
            yield

    def _keep(self, number: int, _: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self._reads_prompt:
            return None
        values: torch.Tensor = arguments[0]
        # a view of its own, so that its gradient is that of the projection alone; nothing before the first is variable
        values = values.view_as(values) if values.requires_grad else values.detach().requires_grad_()
        self._found[number] = values
        return values, *arguments[1:]
