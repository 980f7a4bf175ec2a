"""How many neurons a model has, from its configuration and the headers of its weights. Imports no torch."""

import math
import re
from collections.abc import Iterator

from skilljobs.checkpoints.checkpoint import EXPERT, stored_shapes
from skilljobs.checkpoints.source import ModelSource
from skilljobs.selection import NEURONS, Selection, is_in

_EXPERT_DOWN = re.compile(
    r"\.(\d+)\.(?:.*?(?<!shared_)experts|block_sparse_moe)\.(?:(\d+)\.)?(?:down_proj|w2|output_linear)(?:\.weight)?$"
)
"""The layer of an expert's down projection, and its number where each expert has a tensor of its own."""
_DENSE_DOWN = re.compile(r"\.(\d+)\.(?:mlp|feed_forward|shared_mlp)\..*?(?:down_proj|w2|output_linear)\.weight$")


def neurons_read(source: ModelSource, selection: Selection) -> int | None:
    """The number of neurons, or of other units, that a job reads; None if the model's files do not say."""
    if source.width is None or source.layers is None:
        return None
    chosen = sum(is_in(selection.layers, layer) for layer in range(source.layers))
    if selection.units == "residual":
        return chosen * source.width
    if selection.units == "heads":
        return chosen * source.heads if source.heads else None
    if selection.units != NEURONS:
        return None
    shapes = stored_shapes(source) if any(EXPERT in name for name in source.config) else {}
    if any(_EXPERT_DOWN.search(name) for name in shapes):
        counts = list(_counts(shapes, source.width, selection))
        return sum(counts) or None
    return None if source.neurons is None else source.neurons * chosen // source.layers


def _counts(shapes: dict[str, tuple[int, ...]], width: int, selection: Selection) -> Iterator[int]:
    """The neurons of each down projection of a mixture of experts that is read; its d_model is `width`."""
    for name, shape in shapes.items():
        numbers = math.prod(shape)
        if match := _EXPERT_DOWN.search(name):
            layer, expert = int(match[1]), match[2]
            experts = range(shape[0]) if expert is None else range(int(expert), int(expert) + 1)
            each = numbers // len(experts) // width
            if is_in(selection.layers, layer):
                yield each * sum(is_in(selection.experts, number) for number in experts)
        elif (match := _DENSE_DOWN.search(name)) and is_in(selection.layers, int(match[1])):
            yield numbers // width
