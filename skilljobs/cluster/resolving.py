"""The numerics of a job that is submitted for the first time, from what the connected cluster has."""

from collections.abc import Callable

from skilljobs.checkpoints.source import ModelSource
from skilljobs.cluster.machines import machine_for_replica
from skilljobs.plan.capacity import Cluster, Placement, Replicas, lay_out
from skilljobs.plan.footprint import refuse_too_large
from skilljobs.plan.numerics import resolve_numerics
from skilljobs.spec import JobSpec
from skilljobs.store.record import Numerics


def resolve_on(
    cluster: Cluster,
    spec: JobSpec,
    source: ModelSource,
    placement: Placement,
    on_note: Callable[[str], None],
    sums_size: int = 0,
    kept_tokens: int = 1,
) -> Numerics:
    """The numerics that suit `cluster`.

    Args:
        sums_size: bytes of a shard's sums.
        kept_tokens: prompt positions kept for each neuron and example.

    Raises:
        InputError: there are no such GPUs, torch does not see them, or the model is too large for them or for this
            machine. CPU machines of a cluster, which may be of many sizes, are not refused.
    """
    gpus = cluster.gpus_of_replica(placement.gpus_per_replica, spec.tensor_parallel)
    if gpus:
        lay_out(cluster, Replicas(1, 1, gpus), placement.replicas, 1)
    machine = machine_for_replica(cluster, gpus, on_note)
    numerics = resolve_numerics(spec, source, gpus, machine, sums_size, kept_tokens)
    if gpus or not cluster.grows:
        refuse_too_large(source, numerics.dtype, gpus, machine)
    return numerics
