"""Starting Ray on this machine, connecting to a cluster, or using what is connected already."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from skilljobs.engine.authentication import TOKEN_ADVICE, use_token_at_hand
from skilljobs.engine.capacity import Cluster
from skilljobs.engine.numerics import Machine, available_cpus, this_machine
from skilljobs.errors import InputError
from skilljobs.interrupts import raise_on_sigterm

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Only receipts travel through the object store."""


@contextmanager
def ray_session(address: str | None = None, debug: bool = False) -> Iterator[Cluster]:
    """The Ray that is connected already, the cluster at `address`, or one that is started here and stopped at the end.

    Raises:
        InputError: there is no cluster at `address`, or it does not take this process.
    """
    begun = not ray.is_initialized()
    dashboard = None
    if begun:
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logs: dict[str, Any] = {"log_to_driver": debug, "logging_level": logging.INFO if debug else logging.ERROR}
        if address:
            dashboard = _connect(address, logs)
        else:
            dashboard = ray.init(
                address="local",
                num_cpus=available_cpus(),
                include_dashboard=True,
                object_store_memory=OBJECT_STORE_BYTES,
                **logs,
            ).dashboard_url
        raise_on_sigterm()
    try:
        yield look_at_cluster(grows=bool(address) or not begun, dashboard=f"http://{dashboard}" if dashboard else None)
    finally:
        if begun:
            ray.shutdown()


def look_at_cluster(grows: bool, dashboard: str | None = None) -> Cluster:
    """What the connected Ray has now."""
    there = [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    if not grows:
        there = [replace(this_machine(), gpus=machine.gpus) for machine in there]
    return Cluster(tuple(machine for machine in there if machine.cpus or machine.gpus), grows, dashboard)


def _connect(address: str, logs: dict[str, Any]) -> str:
    use_token_at_hand()
    try:
        return str(ray.init(address=address, **logs).dashboard_url)
    except AuthenticationError as error:
        raise InputError(f"the Ray cluster at {address} wants a token: {TOKEN_ADVICE}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster could be reached at {address}: {str(error).partition(chr(10))[0]}") from error


def _machine(resources: dict[str, float]) -> Machine:
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), int(resources.get("memory", 0)))
