"""What decides the last bits of the numbers: worked out once, when a job is first submitted, then stored."""

from dataclasses import asdict, dataclass
from typing import Any

from skilljobs.engine.cluster.capacity import Machine, Replicas
from skilljobs.engine.footprint import fitting_batch_tokens, weights_bytes
from skilljobs.lm.source import ModelSource
from skilljobs.spec import JobSpec


@dataclass(frozen=True)
class Numerics:
    """With these, the spec, the data and the prompt equal, a run's sums have the same bits on any cluster."""

    gpus: int
    """GPUs of a replica."""
    device: str
    """`cpu`, `cuda`, or `auto` for a model over several GPUs."""
    dtype: str
    threads: int
    """CPU threads of a replica."""
    attention: str
    batch_tokens: int

    @property
    def replica(self) -> Replicas:
        """What one replica holds."""
        return Replicas(1, 1 if self.gpus else self.threads, self.gpus)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def resolve_numerics(
    spec: JobSpec,
    source: ModelSource,
    gpus_per_replica: int,
    machine: Machine,
    sums_bytes: int = 0,
    kept_tokens: int = 1,
) -> Numerics:
    """float32 on a CPU; on a GPU the model's own type; batches that the memory beside weights and sums holds.

    A replica has one thread where the model is small enough for every core of `machine` to hold it, since replicas
    scale better than threads; else all its cores. The number of replicas asked for plays no part: it must leave the
    bits alone. `sums_bytes` are those of a shard, `kept_tokens` those of each neuron and example.
    """
    on_gpu = gpus_per_replica > 0
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    own = stored if stored in ("bfloat16", "float16", "float32") else "float32"
    dtype = spec.dtype or (own if on_gpu else "float32")
    threads = 1 if on_gpu or _fits_every_core(source, machine) else machine.cpus
    replicas = max(1, machine.cpus // threads)
    return Numerics(
        gpus=gpus_per_replica,
        device="cpu" if not on_gpu else "cuda" if gpus_per_replica == 1 else "auto",
        dtype=dtype,
        threads=threads,
        attention="sdpa",
        batch_tokens=spec.batch_tokens
        or fitting_batch_tokens(source, dtype, gpus_per_replica, replicas, machine, sums_bytes, kept_tokens),
    )


def _fits_every_core(source: ModelSource, machine: Machine) -> bool:
    """Whether half of the memory holds the weights, in float32, once for each core."""
    return weights_bytes(source, "float32") * machine.cpus <= machine.memory / 2
