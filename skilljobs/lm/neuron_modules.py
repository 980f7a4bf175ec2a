"""What the modules are called that the neurons of a model enter, told without its weights."""

from dataclasses import dataclass

from skilljobs.checkpoints.source import ModelSource
from skilljobs.lm.batch import opening_ids
from skilljobs.lm.load import load_tokenizer
from skilljobs.lm.outline import outline
from skilljobs.neurons.experts import LLAMA4, ExpertNeurons
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import ProjectionInput


@dataclass(frozen=True)
class NeuronModules:
    """The modules that the neurons of a model enter, by layer."""

    architecture: str
    """The class of the model in transformers."""
    dense: dict[int, str]
    """The path of the down projection of the FFN, or of the one that all tokens share."""
    experts: dict[int, str]
    """The path of the module of a layer's experts."""
    scaled_before: bool
    """Whether the router weighs what experts read, and not what they write (Llama 4)."""
    opening: tuple[int, ...]
    """The tokens that the tokenizer puts before a text."""


def neuron_modules(source: ModelSource, pattern: str | None) -> NeuronModules:
    """Where the neurons of a model enter its modules. `pattern` names down projections (see `find_neurons`).

    Raises:
        InputError: the model or its tokenizer cannot be read, or where its neurons are is not known.
    """
    model = outline(source)
    paths = {id(module): path for path, module in model.named_modules()}
    dense, experts, kinds = dict[int, str](), dict[int, str](), set[str]()
    for number, layer in enumerate(find_neurons(model, pattern)):
        for site in layer.sites:
            if isinstance(site, ProjectionInput):
                dense[number] = paths[id(site.projection)]
            elif isinstance(site, ExpertNeurons):
                experts[number] = paths[id(site.module)]
                kinds.add(type(site.module).__name__)
    opening = tuple(opening_ids(load_tokenizer(source)))
    return NeuronModules(type(model).__name__, dense, experts, LLAMA4 in kinds, opening)
