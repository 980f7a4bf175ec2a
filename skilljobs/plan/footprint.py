"""How much memory a scorer takes, from what is known before one starts."""

from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Machine
from skilljobs.selection import Selection

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 32768
"""Tokens that keep the device busy; a larger batch only adds padding."""
LEAST_BATCH_TOKENS = 256
BATCH_SHARE = 0.5
"""The share of the memory left by weights and sums that a batch may take: allocators waste some of it, and the bytes of
a token are an estimate."""
EXAMPLE_TOKENS = 32
"""A lower bound for the tokens of an example with its soft prompt, in practice."""
QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.6}
"""Bytes of a quantized weight with its share of the scales."""
CPU_RUNTIME_BYTES, GPU_RUNTIME_BYTES = 600_000_000, 3_000_000_000
"""Memory of the libraries; on a GPU, of its context and a block of logits."""


def weights_bytes(source: ModelSource, dtype: str) -> float:
    """Bytes of the model's weights as `dtype`; those of its layers are quantized if the source says so."""
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    numbers = sum(file.stat().st_size for file in source.weight_files) / _width(stored)
    if source.quantize is None:
        return numbers * _width(dtype)
    vocabulary = source.config.get("vocab_size")
    kept = 2 * vocabulary * (source.width or 0) if isinstance(vocabulary, int) else 0  # embeddings and LM head
    return min(kept, numbers) * _width(dtype) + max(0.0, numbers - kept) * QUANTIZED_BYTES[source.quantize]


def refuse_too_large(source: ModelSource, dtype: str, gpus: int, machine: Machine) -> None:
    """Refuse a model whose weights alone exceed a replica's memory.

    Raises:
        InputError: `machine`, or `gpus` of its GPUs, cannot hold them.
    """
    weights, memory = weights_bytes(source, dtype), gpus * machine.gpu_memory if gpus else machine.memory
    if 0 < memory < weights:
        where = f"{gpus} of the GPUs" if gpus > 1 else "a GPU" if gpus else "the machine"
        needed = -(-weights * 1.2 // machine.gpu_memory) if gpus else 0
        ways = ["--dtype bfloat16"] * (dtype == "float32") + [f"--gpus-per-replica {needed:.0f}"] * (gpus > 0)
        raise InputError(
            f"the model {source.name} takes {weights / 1e9:.3g} GB as {dtype}, and {where} has {memory / 1e9:.3g} GB:"
            f" try {' or '.join([*ways, 'a smaller model'])}"
        )


def fitting_batch_tokens(
    source: ModelSource,
    dtype: str,
    gpus: int,
    replicas: int,
    machine: Machine,
    sums_size: int,
    kept_tokens: int,
    selection: Selection | None = None,
) -> int:
    """Tokens of a batch, padding included: enough to keep the device busy, or what its memory holds if that is less.

    Args:
        gpus: GPUs of a replica; if 0, `replicas` replicas share the memory of `machine`.
        sums_size: bytes of a shard's sums.
        kept_tokens: prompt positions kept for each neuron and example.
        selection: the neurons that are read; None: all.
    """
    enough = GPU_BATCH_TOKENS if gpus else CPU_BATCH_TOKENS
    memory = machine.gpu_memory if gpus else machine.memory / replicas
    token_bytes = _token_bytes(source, dtype, kept_tokens, selection or Selection())
    if not memory or token_bytes is None:
        return enough
    if gpus:
        taken = weights_bytes(source, dtype) / gpus + 2 * sums_size + GPU_RUNTIME_BYTES
    else:
        taken = weights_bytes(source, dtype) + 3 * sums_size + CPU_RUNTIME_BYTES  # one shard is added up, one written
    fitting = BATCH_SHARE * max(0.0, memory - taken) / token_bytes
    return max(LEAST_BATCH_TOKENS, min(enough, int(fitting) // LEAST_BATCH_TOKENS * LEAST_BATCH_TOKENS))


def _token_bytes(source: ModelSource, dtype: str, kept_tokens: int, selection: Selection) -> float | None:
    """Bytes of one token: what a layer's forward pass holds at once, and for all layers the keys, the values and the
    float64 activations of two batches.

    Keys and values are held after a common prefix, and if choices are read as branches; they are counted once.
    """
    neurons, read = neurons_read(source, Selection()), neurons_read(source, selection)
    if neurons is None or source.layers is None or source.width is None:
        return None
    layer_numbers = 10 * source.width + 4 * neurons / source.layers
    cached = 2 * source.layers * (source.cached_width or source.width)
    return (layer_numbers + cached) * _width(dtype) + 2 * 8 * (read or neurons) * kept_tokens / EXAMPLE_TOKENS


def _width(dtype: object) -> int:
    """Bytes of one number of this type."""
    return 2 if dtype in ("bfloat16", "float16") else 4
