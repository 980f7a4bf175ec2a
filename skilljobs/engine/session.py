"""Starting Ray on this machine, or using the one that is already connected."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from skilljobs.engine.numerics import Numerics, available_cpus
from skilljobs.errors import InputError
from skilljobs.interrupts import raise_on_sigterm

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Only receipts travel through the object store."""


@dataclass(frozen=True)
class Cluster:
    """What Ray has to give."""

    cpus: int
    gpus: int
    gpus_of_largest_node: int
    cpus_of_largest_node: int
    dashboard: str | None


@contextmanager
def ray_session(debug: bool = False) -> Iterator[Cluster]:
    """A Ray that is started here and stopped at the end, unless one was connected before: that is used and left."""
    started = not ray.is_initialized()
    dashboard = None
    if started:
        _prepare_environment()
        context = ray.init(
            address="local",
            num_cpus=available_cpus(),
            include_dashboard=True,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=debug,
            logging_level=logging.INFO if debug else logging.ERROR,
        )
        dashboard = context.dashboard_url
        raise_on_sigterm()
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield Cluster(
            cpus=int(sum(node.get("CPU", 0) for node in nodes)),
            gpus=int(sum(node.get("GPU", 0) for node in nodes)),
            gpus_of_largest_node=int(max(node.get("GPU", 0) for node in nodes)),
            cpus_of_largest_node=int(max(node.get("CPU", 0) for node in nodes)),
            dashboard=f"http://{dashboard}" if dashboard else None,
        )
    finally:
        if started:
            ray.shutdown()


def _prepare_environment() -> None:
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@dataclass(frozen=True)
class Replicas:
    """How many scorers, and what each one holds."""

    count: int
    cpus: int
    gpus: int


def gpus_of_replica(cluster: Cluster, wanted: int | None) -> int:
    """The GPUs of a replica: as many as wanted, or one where there are any."""
    return min(1, cluster.gpus) if wanted is None else wanted


def lay_out(cluster: Cluster, numerics: Numerics, wanted: int | None, shards: int) -> Replicas:
    """As many replicas as the cluster holds, the shards need, or `wanted` says.

    Raises:
        InputError: not one replica, or not as many as wanted, can ever be placed.
    """
    gpus, cpus = numerics.gpus, 1 if numerics.gpus else numerics.threads
    if gpus > cluster.gpus_of_largest_node:
        raise InputError(
            f"a replica takes {gpus} GPUs (--gpus-per-replica); the largest node has {cluster.gpus_of_largest_node}"
        )
    if cpus > cluster.cpus_of_largest_node:
        raise InputError(f"a replica takes {cpus} CPUs; the largest node has {cluster.cpus_of_largest_node}")
    most = cluster.gpus // gpus if gpus else cluster.cpus // cpus
    if wanted is not None and wanted > most:
        raise InputError(
            f"--replicas {wanted}: there is room for {most}"
            f" ({cluster.cpus} CPUs and {cluster.gpus} GPUs; a replica takes {cpus} and {gpus})"
        )
    return Replicas(max(1, min(wanted or most, shards)), cpus, gpus)
