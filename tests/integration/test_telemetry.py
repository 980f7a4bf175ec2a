"""What the board in cluster/grafana asks for is what a job's machines export."""

import json
import re
import time
from pathlib import Path

import pytest

from skilljobs.cluster.dashboard_jobs import ClusterJobs
from skilljobs.cluster.telemetry import COUNTERS, exported_name
from tests.integration.machines import PATIENCE, Machines, run_command, wait_for
from tests.tables import random_rows, write_jsonl

BOARD = json.loads((Path(__file__).parents[2] / "cluster/grafana/skilljobs.json").read_text())


def queries() -> list[str]:
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return asked + [
        variable["query"]["query"] for variable in BOARD["templating"]["list"] if variable["type"] == "query"
    ]


def names_in(query: str) -> set[str]:
    return set(re.findall(r"ray_\w+", query))


def test_the_board_asks_for_every_counter_and_no_other() -> None:
    assert set().union(*map(names_in, queries())) == {exported_name(counter) for counter in COUNTERS}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.slow
@pytest.mark.ray
def test_a_running_job_exports_all_that_the_board_asks_for(
    machines: Machines, tmp_path: Path, wide_llama: Path
) -> None:
    """With a bad row and a scorer that is killed: what never happens is not exported.

    The job has far more shards than are collected between two exports, on a fast machine too, and is stopped.
    """
    rows = [*random_rows(8000), {"text": "no answer"}]
    data = write_jsonl(tmp_path / "table.jsonl", rows)
    machine = machines.add()
    words = ["--data", str(data), "--model", str(wide_llama), "--soft-prompt", "random", "--null", "1",
             "--prompt-length", "2", "--shard-size", "10", "--run-id", "watched", "--no-report"]  # fmt: skip
    address = ["--address", machines.dashboard]
    assert run_command(["submit", *words, "--out", str(tmp_path), *address, "--no-wait"]).returncode == 0
    deadline = time.monotonic() + PATIENCE
    wait_for(lambda: list((tmp_path / "watched" / "shards").glob("scores-*.parquet")))
    machines.scorers_of(machine)[0].kill()
    wanted = {name for query in queries() for name in names_in(query)}
    found: set[str] = set()
    while not wanted <= found:
        assert time.monotonic() < deadline, wanted - found
        time.sleep(1)
        found |= set(re.findall(r'^(ray_skilljobs_\w+){.*run="watched"', machines.metrics(), re.MULTILINE))
    if not ClusterJobs(machines.dashboard).find("watched").ended:
        assert run_command(["stop", "watched", *address]).returncode == 0
    machines.remove(machine, gently=True)
