"""What decides the last bits of the numbers: worked out when a job is first submitted, and then stored."""

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Machine
from skilljobs.plan.footprint import fitting_batch_tokens, weights_bytes
from skilljobs.spec import JobSpec
from skilljobs.store.record import Numerics

TOKENS_PER_COST = 64
"""A batch costs as much as this share of the tokens that keep the device busy; on a CPU, it reads the LM head again."""
TUNING_PARTS = 4
"""Into how many parts the 16 examples of a tuning step are cut. Smaller parts cost more than scorers could save."""
LARGE_ON_GPU = 4e9
"""Bytes of weights from which a part keeps a GPU busy for longer than it takes to start its kernels: an estimate."""

LARGE_ON_CPU = 20e6
"""Bytes of weights from which small parts cost little."""


def tuning_parts(spec: JobSpec, source: ModelSource, gpus: int) -> int | None:
    """Into how many parts a tuning step is cut; None if no soft prompt is tuned.

    Small models on GPUs are tuned in one part, on one scorer: a part of a step takes them as long as the whole step. Of
    very small ones on CPUs, parts of four examples take a quarter longer than their share.
    """
    if spec.soft_prompt is not None or spec.like is not None:
        return None
    if gpus > 0:
        return 1 if weights_bytes(source, "bfloat16") < LARGE_ON_GPU else TUNING_PARTS
    return TUNING_PARTS if weights_bytes(source, "float32") >= LARGE_ON_CPU else TUNING_PARTS // 2


def resolve_numerics(
    spec: JobSpec,
    source: ModelSource,
    gpus_per_replica: int,
    machine: Machine,
    sums_size: int = 0,
    kept_tokens: int = 1,
) -> Numerics:
    """The numerics of a new run: float32 on a CPU, the model's own type on a GPU, and batches that fit into memory.

    A replica has one thread where the model is small enough for every core of `machine` to hold a copy, since replicas
    scale better than threads; otherwise it has all cores. The number of replicas that was asked for is not considered,
    because it must not change the bits. Several ranks, each with its threads, make one replica.

    Args:
        machine: the machine that a replica is planned for.
        sums_size: bytes of a shard's sums.
        kept_tokens: prompt positions kept for each neuron and example.

    Raises:
        InputError: a soft prompt would have to be tuned on a CPU through weights of 4 bits.
    """
    on_gpu = gpus_per_replica > 0
    if spec.quantize == "4bit" and spec.soft_prompt is None and not on_gpu:
        raise InputError(
            "--quantize 4bit: bitsandbytes' gradients of 4-bit weights are wrong on CPUs: tune the soft prompt on the"
            " model as it is, and reuse it (--soft-prompt RUN)"
        )
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    own = stored if stored in ("bfloat16", "float16", "float32") else "float32"
    dtype = spec.dtype or (own if on_gpu else "float32")
    ranks = spec.tensor_parallel
    threads = 1 if on_gpu or _fits_every_core(source, machine) else max(1, machine.cpus // ranks)
    replicas = max(1, machine.cpus // (threads * ranks))
    fitting = fitting_batch_tokens(
        source, dtype, gpus_per_replica, replicas, machine, sums_size, kept_tokens, spec.selection
    )
    batch_tokens = spec.batch_tokens or fitting
    return Numerics(
        gpus=gpus_per_replica,
        device="cpu" if not on_gpu else "cuda" if gpus_per_replica == ranks else "auto",
        dtype=dtype,
        threads=threads,
        attention=spec.attention,
        batch_tokens=batch_tokens,
        batch_cost=batch_tokens // TOKENS_PER_COST,
    )


def _fits_every_core(source: ModelSource, machine: Machine) -> bool:
    """Whether half of the memory holds the weights, in float32, once for each core."""
    return weights_bytes(source, "float32") * machine.cpus <= machine.memory / 2
