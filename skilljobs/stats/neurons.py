"""The neurons of a layer, in the order of every array over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.errors import InputError

NO_EXPERT = -1


@dataclass(frozen=True)
class NeuronName:
    """A neuron as tables name it. `expert` is None for a neuron of a dense or shared FFN."""

    layer: int
    expert: int | None
    neuron: int

    @classmethod
    def parse(cls, text: str) -> "NeuronName":
        """The neuron that a user names.

        Raises:
            InputError: `text` is not LAYER/NEURON or LAYER/EXPERT/NEURON.
        """
        numbers = text.split("/")
        if len(numbers) not in (2, 3) or not all(number.isdecimal() and len(number) < 10 for number in numbers):
            raise InputError(f"{text!r} is not a neuron: write LAYER/NEURON or LAYER/EXPERT/NEURON, all counted from 0")
        layer, *expert, neuron = map(int, numbers)
        return cls(layer, expert[0] if expert else None, neuron)

    @property
    def order(self) -> tuple[int, int, int]:
        """What neurons are sorted by: as in arrays over them."""
        return self.layer, NO_EXPERT if self.expert is None else self.expert, self.neuron

    def __str__(self) -> str:
        numbers = (self.layer, self.neuron) if self.expert is None else (self.layer, self.expert, self.neuron)
        return "/".join(map(str, numbers))


@dataclass(frozen=True)
class LayerNeurons:
    """The neurons that are read in one layer: first the dense ones, then those of each expert.

    Dense neurons are those of the layer's FFN or, in a layer with experts, of the FFN that is shared by all tokens.
    """

    layer: int
    dense: int
    experts: tuple[int, ...] = ()
    """The experts that are read, ascending."""
    neurons_per_expert: int = 0

    @property
    def count(self) -> int:
        """The number of neurons that are read."""
        return self.dense + len(self.experts) * self.neurons_per_expert

    @property
    def neuron_numbers(self) -> NDArray[np.int32]:
        """The number of each neuron, counted from 0 in the FFN or expert that it belongs to."""
        in_experts = np.tile(np.arange(self.neurons_per_expert, dtype=np.int32), len(self.experts))
        return np.concatenate([np.arange(self.dense, dtype=np.int32), in_experts])

    @property
    def expert_numbers(self) -> NDArray[np.int16]:
        """The expert of each neuron; `NO_EXPERT` for dense neurons."""
        of_experts = np.repeat(np.array(self.experts, np.int16), self.neurons_per_expert)
        return np.concatenate([np.full(self.dense, NO_EXPERT, np.int16), of_experts])

    def place(self, neuron: int, expert: int | None = None) -> int:
        """The place of a neuron in arrays over the layer's neurons.

        Raises:
            LookupError: it is not read.
        """
        if expert is None and 0 <= neuron < self.dense:
            return neuron
        if expert in self.experts and 0 <= neuron < self.neurons_per_expert:
            return self.dense + self.experts.index(expert) * self.neurons_per_expert + neuron
        raise LookupError(f"layer {self.layer} has no neuron {neuron} of expert {expert}")

    def __str__(self) -> str:
        parts = [f"{self.dense:,} neurons"] if self.dense else []
        if self.experts:
            parts.append(f"{len(self.experts)} experts of {self.neurons_per_expert:,} neurons")
        return " and ".join(parts) or "no neurons"
