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

        port, self.metrics_port = free_port(), free_port()
        self.dashboard = f"http://127.0.0.1:{port}"
        self._cluster = Cluster(
            initialize_head=True,
            connect=False,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": True,
                "dashboard_port": port,
                "metrics_export_port": self.metrics_port,
                "object_store_memory": MEMORY,
            },
        )
        self.address: str = self._cluster.address

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.dashboard}/api/version", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY)

    def remove(self, machine: Any, gently: bool) -> None:
        self._cluster.remove_node(machine, allow_graceful=gently)

    def close(self) -> None:
        self._cluster.shutdown()


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
