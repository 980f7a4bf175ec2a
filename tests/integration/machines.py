"""Machines that come and go, and commands that are sent to their cluster."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

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
        with suppress(OSError), urllib.request.urlopen(f"{self.dashboard}/api/version", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def add(self) -> Any:
        port = free_port()
        self.metrics_ports.append(port)
        return self._cluster.add_node(num_cpus=1, metrics_export_port=port, **_of_its_own())

    def metrics(self) -> str:
        """What Prometheus would get of all machines."""
        pages = []
        for port in self.metrics_ports:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                pages.append(answer.read().decode())
        return "\n".join(pages)

    def remove(self, machine: Any, gently: bool) -> None:
        self._cluster.remove_node(machine, allow_graceful=gently)

    def close(self) -> None:
        self._cluster.shutdown()


def _of_its_own() -> dict[str, int]:
    """What machines on one host would otherwise take from each other."""
    return {"object_store_memory": MEMORY, "dashboard_agent_listen_port": free_port()}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def run_command(words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """`skilljobs` with `words`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from skilljobs.cli.main import main; main()", *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
