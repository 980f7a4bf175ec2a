"""Starting Ray on this machine, connecting to a cluster, or using what is connected already."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from skilljobs.cluster.authentication import TOKEN_ADVICE, use_token_at_hand
from skilljobs.errors import InputError, Terminated
from skilljobs.machine import available_cpus
from skilljobs.plan.capacity import Cluster, Machine, this_machine
from skilljobs.progress.interrupts import raise_on_sigterm

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Size of the object store, through which only receipts travel."""
_grows: bool | None = None
"""Whether machines may come and go in the session that was begun here; None if none was."""


@contextmanager
def ray_session(address: str | None = None, debug: bool = False) -> Iterator[Cluster]:
    """The Ray that is already connected, the cluster at `address`, or a Ray that is started and stopped here.

    Raises:
        InputError: there is no cluster at `address`, it does not accept this process, or another one is connected.
    """
    global _grows
    starts_here = not ray.is_initialized()
    dashboard = None
    if not starts_here and _grows is None and address not in (None, "auto"):
        connected = ray.get_runtime_context().gcs_address
        if address != connected:
            raise InputError(f"--address {address}: this process is connected to another Ray, at {connected}")
    if starts_here:
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logs: dict[str, Any] = {"log_to_driver": debug, "logging_level": logging.INFO if debug else logging.ERROR}
        try:
            if address:
                dashboard, _grows = _connect(address, logs), True
            else:
                dashboard, _grows = _start(logs), False
        except SystemExit as error:  # Ray's own handler of SIGTERM, which it installs while it starts
            raise Terminated from error
        raise_on_sigterm()
    try:
        yield look_at_cluster(f"http://{dashboard}" if dashboard else None)
    finally:
        if starts_here:
            ray.shutdown()
            _grows = None


def look_at_cluster(dashboard: str | None = None) -> Cluster:
    """The machines that the connected Ray has now."""
    grows = _grows is not False
    machines = [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    if not grows:
        machines = [replace(this_machine(), gpus=machine.gpus) for machine in machines]
    return Cluster(tuple(machine for machine in machines if machine.cpus or machine.gpus), grows, dashboard)


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
        raise InputError(f"the Ray cluster at {address} requires a token: {TOKEN_ADVICE}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster could be reached at {address}: {str(error).partition(chr(10))[0]}") from error


def _machine(resources: dict[str, float]) -> Machine:
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), int(resources.get("memory", 0)))
