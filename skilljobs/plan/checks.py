"""What is checked before anything starts: whether sums are too large, and examples too long."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.example_views import ExampleView
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import Layout
from skilljobs.stats.predictivity import above_layout
from skilljobs.tasks.base import Example

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_BYTES = 4
"""Of a character in UTF-8."""


def shard_sums_size(
    layout: Layout, yes_no: Sequence[str], neurons: int | None, spec: JobSpec, prompt_length: int
) -> int:
    """Bytes of a shard's sums, and of the counts of `yes_no` metrics at each token, before compression.

    They are 0 if the neurons are not known.
    """
    positions = max(1, prompt_length)
    each = layout.bytes_per_neuron() * (positions if spec.tokens == "each" else 1)
    counts = above_layout(layout, yes_no).bytes_per_neuron() * positions if yes_no else 0
    return (each + counts) * (neurons or 0)


def check_sums_size(size: int, spec: JobSpec) -> None:
    """Refuse sums of a shard of `size` bytes if that is above `--max-sums-gb`.

    Raises:
        InputError: gives their size and the options that reduce it.
    """
    if size / 1e9 > spec.max_sums_gb:
        raise InputError(
            f"the sums of a shard would take {size / 1e9:.3g} GB, above --max-sums-gb {spec.max_sums_gb:g}:"
            " choose fewer metrics (--metric), populations (--by) or null metrics (--null), --tokens mean, or fewer"
            " neurons (--layers, --experts)"
        )


def longest_bytes(example: Example) -> int:
    """Of the text and the longest continuation, in UTF-8."""
    return len(example.text.encode()) + max(len(c.encode()) for c in example.choices or (example.answer_text,))


def too_long(
    examples: ExampleView, source: ModelSource, prompt_length: int, texts_are_complete: bool = False
) -> dict[str, str]:
    """The examples that do not fit into the model's context, by `example_id`, each with its tokens and the room.

    A token takes at least one byte, so examples with few bytes pass without being tokenized. If `texts_are_complete`,
    the tokenizer adds no opening tokens to them.
    """
    if source.context is None:
        return {}
    room = source.context - prompt_length - 2 - source.is_masked
    tokenizer: Tokenizer | None = None
    reasons: dict[str, str] = {}
    for chunk in examples.blocks():
        may_be_long = chunk.take(np.flatnonzero(MOST_BYTES * chunk.lengths > room)) if len(chunk) else chunk
        for example in may_be_long.examples:
            if longest_bytes(example) <= room:
                continue
            if tokenizer is None:
                tokenizer = _tokenizer_of(source)
            if tokenizer is None:
                return {}
            longest = max(
                len(tokenizer.encode(continuation, add_special_tokens=False).ids)
                for continuation in example.choices or (example.answer_text,)
            )
            tokens = len(tokenizer.encode(example.text, add_special_tokens=not texts_are_complete).ids) + longest
            if tokens > room:
                reasons[example.example_id] = f"it takes {tokens:,} tokens, room for {room:,} (and the soft prompt)"
    return reasons


def _tokenizer_of(source: ModelSource) -> "Tokenizer | None":
    from tokenizers import Tokenizer

    file = source.path / "tokenizer.json"
    return Tokenizer.from_file(str(file)) if file.is_file() else None
