"""How much memory a scorer takes, from what is known before one starts. Imports no torch."""

from skilljobs.engine.cluster.capacity import Machine
from skilljobs.errors import InputError
from skilljobs.lm.source import ModelSource

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 32768
"""A batch of so many fills the device; a larger one only pads more."""
LEAST_BATCH_TOKENS = 256
BATCH_SHARE = 0.5
"""Of the memory that weights and sums leave: allocators waste, and what a token takes is an estimate."""
EXAMPLE_TOKENS = 32
"""That an example has at least in practice, its prompt with it."""
CPU_RUNTIME_BYTES, GPU_RUNTIME_BYTES = 600_000_000, 3_000_000_000
"""Libraries; on a GPU its context and a block of logits."""


def weights_bytes(source: ModelSource, dtype: str) -> float:
    """Bytes of the model's weights once they are held as `dtype`."""
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    return sum(file.stat().st_size for file in source.weight_files) * _width(dtype) / _width(stored)


def refuse_too_large(source: ModelSource, dtype: str, gpus: int, machine: Machine) -> None:
    """Refuse a model whose weights alone are more than a replica's memory.

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
    source: ModelSource, dtype: str, gpus: int, replicas: int, machine: Machine, sums_bytes: int, kept_tokens: int
) -> int:
    """Tokens a batch, padding included: what fills the device, or what its memory holds if that is less.

    Args:
        gpus: of a replica; 0: `replicas` of them share the memory of `machine`.
        sums_bytes: of a shard.
        kept_tokens: of each neuron and example.
    """
    enough = GPU_BATCH_TOKENS if gpus else CPU_BATCH_TOKENS
    memory = machine.gpu_memory if gpus else machine.memory / replicas
    of_token = _token_bytes(source, dtype, kept_tokens)
    if not memory or of_token is None:
        return enough
    if gpus:
        taken = weights_bytes(source, dtype) / gpus + 2 * sums_bytes + GPU_RUNTIME_BYTES
    else:
        taken = weights_bytes(source, dtype) + 3 * sums_bytes + CPU_RUNTIME_BYTES  # one shard is added up, one written
    fitting = BATCH_SHARE * max(0.0, memory - taken) / of_token
    return max(LEAST_BATCH_TOKENS, min(enough, int(fitting) // LEAST_BATCH_TOKENS * LEAST_BATCH_TOKENS))


def _token_bytes(source: ModelSource, dtype: str, kept_tokens: int) -> float | None:
    """Of a layer's forward what is held at once; of all layers keys, values and the float64 activations of two batches.

    Keys and values are held behind a common prefix, and where choices are branches, which it counts once for all.
    """
    if source.neurons is None or source.layers is None or source.width is None:
        return None
    of_layer = 10 * source.width + 4 * source.neurons / source.layers
    cached = 2 * source.layers * (source.cached_width or source.width)
    return (of_layer + cached) * _width(dtype) + 2 * 8 * source.neurons * kept_tokens / EXAMPLE_TOKENS


def _width(dtype: object) -> int:
    """Bytes of a number."""
    return 2 if dtype in ("bfloat16", "float16") else 4
