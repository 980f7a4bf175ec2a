"""Machines that come and go, and commands that are sent to their cluster."""

import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

COMMAND = [sys.executable, "-c", "from skilljobs.cli.main import main; main()"]
COMMAND_SECONDS = 420
PATIENCE = 120
MEMORY = 100 * 1024 * 1024


class Machines:
    """A Ray cluster whose head has no CPUs. Must be made in the main thread."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        port, head_metrics = free_port(), free_port()
        self.metrics_ports = [head_metrics]
        self.dashboard = f"http://127.0.0.1:{port}"
        self._cluster = Cluster(
            initialize_head=True,
            connect=False,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": True,
                "dashboard_port": port,
                "metrics_export_port": head_metrics,
                **_of_its_own(),
            },
        )
        self.address: str = self._cluster.address

    def answers(self) -> bool:
        """Whether the dashboard is up; that it wants a token is an answer too."""
        try:
            urllib.request.urlopen(f"{self.dashboard}/api/version", timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True

    def add(self, gpus: int = 0) -> Any:
        """A machine of one CPU, and of GPUs that are none."""
        port = free_port()
        self.metrics_ports.append(port)
        return self._cluster.add_node(num_cpus=1, num_gpus=gpus, metrics_export_port=port, **_of_its_own())

    def metrics(self) -> str:
        """What Prometheus would get of all machines."""
        pages = []
        for port in self.metrics_ports:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                pages.append(answer.read().decode())
        return "\n".join(pages)

    @contextmanager
    def blind(self, hidden: Path) -> Iterator[None]:
        """A machine that does not see what is in a folder."""
        start = f"ray start --address={self.address} --num-cpus=1 --object-store-memory={MEMORY} --disable-usage-stats"
        script = f"mount -t tmpfs none {shlex.quote(str(hidden))} && exec {start} --block"
        with subprocess.Popen(["unshare", "-m", "bash", "-c", script], stdout=subprocess.DEVNULL) as machine:
            try:
                yield
            finally:
                machine.terminate()

    def remove(self, machine: Any, gently: bool) -> None:
        self._cluster.remove_node(machine, allow_graceful=gently)

    def scorers_of(self, machine: Any) -> list[psutil.Process]:
        """The scorers' processes on a machine."""
        found = []
        for process in psutil.Process(machine.all_processes["raylet"][0].process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if "ray::ScorerActor" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def close(self) -> None:
        import ray
        from ray.experimental import internal_kv

        self._cluster.shutdown()
        if ray.is_initialized():  # of this process's own Ray, the shutdown of another one drops this
            internal_kv._initialize_internal_kv(ray._private.worker.global_worker.gcs_client)


def _of_its_own() -> dict[str, int]:
    """What machines on one host would otherwise take from each other."""
    return {"object_store_memory": MEMORY, "dashboard_agent_listen_port": free_port()}


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Until it is true; it fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def run_command(words: Sequence[str], **environment: str | None) -> subprocess.CompletedProcess[str]:
    """`skilljobs` with `words`, in a process of its own. Variables that are None are not there."""
    variables = {**os.environ, **environment}
    return subprocess.run(
        [*COMMAND, *words],
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
