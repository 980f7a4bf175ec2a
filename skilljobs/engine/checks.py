"""What is refused before anything starts: sums too large, a soft prompt that does not fit, texts too long."""

from collections.abc import Sequence

from skilljobs.engine.prompt_source import prompt_bytes
from skilljobs.errors import InputError
from skilljobs.lm.safetensors_header import read_header
from skilljobs.lm.source import ModelSource
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT, JobSpec
from skilljobs.stats.layout import Layout
from skilljobs.tasks.base import Example


def sums_bytes(layout: Layout, source: ModelSource, spec: JobSpec, prompt_length: int) -> int:
    """Size of a shard's sums before compression; 0 where the model's configuration does not say its neurons."""
    tokens = max(1, prompt_length) if spec.tokens == "each" else 1
    return layout.bytes_per_neuron() * (source.neurons or 0) * tokens


def check_sums_size(layout: Layout, source: ModelSource, spec: JobSpec, prompt_length: int) -> None:
    size = sums_bytes(layout, source, spec, prompt_length) / 1e9
    if size > spec.max_sums_gb:
        raise InputError(
            f"the sums of a shard would take {size:.3g} GB, above --max-sums-gb {spec.max_sums_gb:g}:"
            " choose fewer metrics (--metric), populations (--by) or null metrics (--null), or --tokens mean"
        )


def check_prompt_source(spec: JobSpec, source: ModelSource) -> int:
    """The prompt's length. Refuses one to reuse that is not there, not one, or not as wide as the model."""
    if spec.soft_prompt in (None, RANDOM_PROMPT):
        return spec.prompt_length
    if spec.soft_prompt == NO_PROMPT:
        return 0
    data = prompt_bytes(spec.soft_prompt)
    try:
        shapes = [entry["shape"] for name, entry in read_header(data).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"--soft-prompt {spec.soft_prompt}: it is not a safetensors file") from None
    width = source.width
    if len(shapes) != 1 or len(shapes[0]) != 2 or (width and shapes[0][1] != width):
        raise InputError(
            f"--soft-prompt {spec.soft_prompt}: it holds {shapes}, not one tensor of positions x {width},"
            f" the width of {source.name}"
        )
    return int(shapes[0][0])


def check_lengths(examples: Sequence[Example], source: ModelSource, prompt_length: int) -> None:
    """Refuse an example that the context cannot hold. A token is a byte at least, so short texts pass untokenized."""
    if source.context is None:
        return
    room = source.context - prompt_length - 2
    suspects = [
        (number, example)
        for number, example in enumerate(examples, start=1)
        if len(example.text.encode()) + max(len(c.encode()) for c in example.choices or (example.answer_text,)) > room
    ]
    if not suspects or not (source.path / "tokenizer.json").is_file():
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source.path / "tokenizer.json"))
    for _, example in suspects:
        longest = max(
            len(tokenizer.encode(continuation, add_special_tokens=False).ids)
            for continuation in example.choices or (example.answer_text,)
        )
        tokens = len(tokenizer.encode(example.text).ids) + longest
        if tokens > room:
            raise InputError(
                f"the example {example.example_id!r} takes {tokens} tokens; the model {source.name} has room for {room}"
                f" beside the prompt"
            )
