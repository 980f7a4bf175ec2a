"""Starting Ray on this machine, connecting to a cluster, or using what is connected already."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError

from skilljobs.cluster.authentication import TOKEN_ADVICE, use_token_at_hand
from skilljobs.errors import InputError, JobFailed, Terminated
from skilljobs.machine import available_cpus
from skilljobs.plan.capacity import Cluster, Machine, this_machine
from skilljobs.progress.interrupts import catch_sigterm_again, raise_on_sigterm

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Size of the object store, through which only receipts travel."""
SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's variable that lets a node be reached from other machines; whoever sets it is heeded."""
_grows: bool | None = None
"""Whether machines may come and go in the session that was begun here; None if none was."""
_dashboard: str | None = None
"""The address of the dashboard of that session."""


@contextmanager
def ray_session(address: str | None = None, debug: bool = False) -> Iterator[Cluster]:
    """The Ray that is already connected, the cluster at `address`, or a Ray that is started and stopped here.

    Raises:
        InputError: there is no cluster at `address`, it does not accept this process, or another one is connected.
    """
    global _grows, _dashboard
    starts_here = not ray.is_initialized()
    if not starts_here and _grows is None and address not in (None, "auto"):
        connected = ray.get_runtime_context().gcs_address
        if address != connected:
            raise InputError(f"--address {address}: this process is connected to another Ray, at {connected}")
    with ExitStack() as stack:
        if starts_here:
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            logs: dict[str, Any] = {"log_to_driver": debug, "logging_level": logging.INFO if debug else logging.ERROR}
            try:
                if address:
                    _dashboard, _grows = _connect(address, logs), True
                else:
                    stack.enter_context(loopback_only())
                    _dashboard, _grows = _start(logs), False
            except SystemExit as error:  # Ray's own handler of SIGTERM, which it installs while it starts
                raise Terminated from error
            stack.callback(_end)
            raise_on_sigterm()
        yield look_at_cluster(f"http://{_dashboard}" if _dashboard else None)


def refuse_dead_ray() -> None:
    """Do not wait for what cannot come: a Ray that was started here is gone for good once its raylet is.

    Raises:
        JobFailed: it is.
    """
    if _grows is False and not any(node["Alive"] for node in ray.nodes()):
        raise JobFailed("the Ray that was started on this machine has died")


def _end() -> None:
    global _grows, _dashboard
    ray.shutdown()
    catch_sigterm_again()
    _grows = _dashboard = None


@contextmanager
def loopback_only() -> Iterator[None]:
    """Let a Ray that is started within the block listen on 127.0.0.1 alone; by default it listens on all interfaces.

    Ray has no option for that: passing it the address does not change where it listens. It does so on desktops, by this
    variable, which it reads when it is imported.
    """
    if SEVERAL_MACHINES in os.environ:
        yield
        return
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    os.environ[SEVERAL_MACHINES] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[SEVERAL_MACHINES]


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
