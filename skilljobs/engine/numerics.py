"""What decides the last bits of the numbers: worked out once, when a job is first submitted, then stored."""

from dataclasses import asdict, dataclass
from typing import Any

from skilljobs.engine.cluster.capacity import Machine, Replicas
from skilljobs.lm.source import ModelSource
from skilljobs.spec import JobSpec

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 32768


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


def resolve_numerics(spec: JobSpec, source: ModelSource, gpus_per_replica: int, machine: Machine) -> Numerics:
    """float32 on a CPU; on a GPU the model's own type.

    A replica has one thread where the model is small enough for every core of `machine` to hold it, since replicas
    scale better than threads; else all its cores. The number of replicas asked for plays no part: it must leave the
    bits alone.
    """
    on_gpu = gpus_per_replica > 0
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    own = stored if stored in ("bfloat16", "float16", "float32") else "float32"
    return Numerics(
        gpus=gpus_per_replica,
        device="cpu" if not on_gpu else "cuda" if gpus_per_replica == 1 else "auto",
        dtype=spec.dtype or (own if on_gpu else "float32"),
        threads=1 if on_gpu or _fits_every_core(source, machine) else machine.cpus,
        attention="sdpa",
        batch_tokens=spec.batch_tokens or (GPU_BATCH_TOKENS if on_gpu else CPU_BATCH_TOKENS),
    )


def _fits_every_core(source: ModelSource, machine: Machine) -> bool:
    """Whether half of the memory holds the weights, in float32, once for each core."""
    return weights_bytes(source, "float32") * machine.cpus <= machine.memory / 2


def weights_bytes(source: ModelSource, dtype: str) -> float:
    """Bytes of the model's weights once they are held as `dtype`."""
    stored = source.config.get("dtype", source.config.get("torch_dtype"))
    held, kept = (2 if name in ("bfloat16", "float16") else 4 for name in (dtype, stored))
    return sum(file.stat().st_size for file in source.path.glob("*.safetensors")) * held / kept
