"""Starting Ray on this machine, connecting to a cluster, or using what is connected already."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from skilljobs.engine.cluster.authentication import TOKEN_ADVICE, use_token_at_hand
from skilljobs.engine.cluster.capacity import Cluster, Machine, this_machine
from skilljobs.errors import InputError
from skilljobs.interrupts import raise_on_sigterm
from skilljobs.machine import available_cpus

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Only receipts travel through the object store."""
_grows: bool | None = None
"""Of the session that was begun here: whether machines may come and go. None: there is none."""


@contextmanager
def ray_session(address: str | None = None, debug: bool = False) -> Iterator[Cluster]:
    """The Ray that is connected already, the cluster at `address`, or one that is started here and stopped at the end.

    Raises:
        InputError: there is no cluster at `address`, it does not take this process, or another one is connected.
    """
    global _grows
    begun = not ray.is_initialized()
    dashboard = None
    if not begun and _grows is None and address not in (None, "auto"):
        connected = ray.get_runtime_context().gcs_address
        if address != connected:
            raise InputError(f"--address {address}: this process is connected to another Ray, at {connected}")
    if begun:
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logs: dict[str, Any] = {"log_to_driver": debug, "logging_level": logging.INFO if debug else logging.ERROR}
        if address:
            dashboard, _grows = _connect(address, logs), True
        else:
            dashboard, _grows = _start(logs), False
        raise_on_sigterm()
    try:
        yield look_at_cluster(f"http://{dashboard}" if dashboard else None)
    finally:
        if begun:
            ray.shutdown()
            _grows = None


def look_at_cluster(dashboard: str | None = None) -> Cluster:
    """What the connected Ray has now."""
    grows = _grows is not False
    there = [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    if not grows:
        there = [replace(this_machine(), gpus=machine.gpus) for machine in there]
    return Cluster(tuple(machine for machine in there if machine.cpus or machine.gpus), grows, dashboard)


def _start(logs: dict[str, Any]) -> str | None:
    return ray.init(  # type: ignore[no-any-return]
        address="local",
        num_cpus=available_cpus(),
        include_dashboard=True,
        object_store_memory=OBJECT_STORE_BYTES,
        **logs,
    ).dashboard_url


def _connect(address: str, logs: dict[str, Any]) -> str | None:
    use_token_at_hand()
    try:
        return ray.init(address=address, **logs).dashboard_url  # type: ignore[no-any-return]
    except AuthenticationError as error:
        raise InputError(f"the Ray cluster at {address} wants a token: {TOKEN_ADVICE}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster could be reached at {address}: {str(error).partition(chr(10))[0]}") from error


def _machine(resources: dict[str, float]) -> Machine:
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), int(resources.get("memory", 0)))
