"""The numerics of a job that is submitted for the first time, from what the connected cluster has."""

from collections.abc import Callable

from skilljobs.engine.cluster.capacity import Cluster, Placement, Replicas, lay_out
from skilljobs.engine.cluster.machines import machine_for_replica
from skilljobs.engine.footprint import refuse_too_large
from skilljobs.engine.numerics import Numerics, resolve_numerics
from skilljobs.lm.source import ModelSource
from skilljobs.spec import JobSpec


def resolve_on(
    cluster: Cluster,
    spec: JobSpec,
    source: ModelSource,
    placement: Placement,
    on_note: Callable[[str], None],
    sums_bytes: int = 0,
    kept_tokens: int = 1,
) -> Numerics:
    """What fits `cluster`, for sums of so many bytes a shard and so many tokens kept of each neuron and example.

    Raises:
        InputError: there are no such GPUs, torch does not see them, or the model is too large for them or for this
            machine. Of CPU machines elsewhere, which may be of many sizes, none is refused.
    """
    gpus = cluster.gpus_of_replica(placement.gpus_per_replica)
    if gpus:
        lay_out(cluster, Replicas(1, 1, gpus), placement.replicas, 1)
    machine = machine_for_replica(cluster, gpus, on_note)
    numerics = resolve_numerics(spec, source, gpus, machine, sums_bytes, kept_tokens)
    if gpus or not cluster.grows:
        refuse_too_large(source, numerics.dtype, gpus, machine)
    return numerics
