"""Jobs on a real cluster, whose machines really come and go."""

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.util.state import list_actors

import skilljobs
from skilljobs.cluster.dashboard_jobs import ClusterJobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from tests.integration.machines import COMMAND, PATIENCE, Machines, run_command, wait_for
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def machine(machines: Machines) -> Iterator[object]:
    made = machines.add()
    yield made
    machines.remove(made, gently=True)


@pytest.mark.usefixtures("machine")
def test_a_job_is_submitted_followed_and_asked_about(machines: Machines, tmp_path: Path) -> None:
    address = ["--address", machines.dashboard]
    words = ["--task", "arithmetic", "--soft-prompt", "random", "--limit", "60", "--null", "1", "--no-report"]
    done = run_command(["submit", *words, "--run-id", "mine", "--out", str(tmp_path), *address])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "mine")]
    assert "collect: 60 examples" in done.stderr
    assert "top neurons: confidence" in done.stderr
    run = skilljobs.open_run(str(tmp_path / "mine"))
    assert run.top("confidence", k=1).height == 1

    for words, expected in (
        (["status", "mine"], "mine: succeeded"),
        (["status", str(tmp_path / "mine")], "mine: succeeded"),
        (["logs", "mine"], "collect: 60 examples"),
        (["runs"], f"{tmp_path / 'mine'}  succeeded"),
    ):
        answer = run_command([*words, *address])
        assert (answer.returncode, expected in answer.stdout) == (0, True), answer
    details = details_of("mine", machines)
    about = {"command": "submit", "task": "arithmetic", "model": "tiny", "version": skilljobs.__version__}
    about |= {"run_id": "mine", "uri": str(tmp_path / "mine")}
    assert details["metadata"].items() >= {f"skilljobs.{key}": value for key, value in about.items()}.items()
    assert details["metadata"]["job_name"] == "mine"
    assert details["message"] == "Job finished successfully.", "Ray's own word on how it ended stands"
    uploaded = ClusterJobs(machines.dashboard)._client.list_jobs()[0].runtime_env
    assert not {"working_dir", "py_modules", "excludes"} & set(uploaded or {})
    assert "done on" in run_command(["status", str(tmp_path / "mine")]).stdout
    unknown = run_command(["status", "nobody", *address])
    assert (unknown.returncode, "knows no job of the run 'nobody'" in unknown.stderr) == (2, True)


@pytest.mark.usefixtures("machine")
def test_doctor_looks_at_every_machine(machines: Machines) -> None:
    done = run_command(["doctor", "--address", machines.dashboard, "--model", "tiny"])
    assert done.returncode == 0, done.stderr
    for found in (
        "1 for scorers, 1 CPUs and 0 GPUs",
        "the same on all machines: skilljobs",
        "gpus          none",
        "neurons",
    ):
        assert found in done.stdout
    assert done.stdout.count("memory") == 2, "the head and the machine"


def test_gpus_that_torch_does_not_see_are_refused(machines: Machines, tmp_path: Path) -> None:
    machine = machines.add(gpus=1)
    try:
        words = ["submit", "--task", "arithmetic", "--out", str(tmp_path), "--address", machines.dashboard]
        done = run_command(words)
    finally:
        machines.remove(machine, gently=True)
    assert done.returncode == 2, done.stderr
    assert "Ray gives 1 GPUs on the machine" in done.stderr
    assert "torch can use 0 there" in done.stderr


@pytest.mark.usefixtures("machine")
def test_what_the_head_refuses_is_refused_here(machines: Machines, tmp_path: Path) -> None:
    done = run_command(
        ["submit", "--data", str(tmp_path / "none.jsonl"), "--model", "tiny", "--address", machines.dashboard]
    )
    assert done.returncode == 2
    assert "none.jsonl" in done.stderr.splitlines()[-1]


def test_an_address_where_nothing_is(tmp_path: Path) -> None:
    done = run_command(["submit", "--task", "arithmetic", "--address", "http://127.0.0.1:9", "--out", str(tmp_path)])
    assert (done.returncode, "no Ray dashboard could be reached" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())
    done = run_command(["runs", "--address", "127.0.0.1:6379"])
    assert (done.returncode, "such as http://HEAD:8265" in done.stderr) == (2, True)


def details_of(run_id: str, machines: Machines) -> dict[str, Any]:
    """What the Jobs API says about the newest job of a run."""
    with urllib.request.urlopen(
        f"{machines.dashboard}/api/jobs/{ClusterJobs(machines.dashboard).find(run_id).id}"
    ) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def names_of_pending(machines: Machines) -> list[str | None]:
    pending = list_actors(address=machines.dashboard, filters=[("state", "=", "PENDING_CREATION")])
    return [actor.name for actor in pending]


@pytest.mark.usefixtures("machine")
def test_a_job_is_stopped_through_the_dashboard_and_through_its_storage(machines: Machines, tmp_path: Path) -> None:
    uri = str(tmp_path / "mine")
    submit = ["submit", "--task", "arithmetic", "--tune-steps", "2000", "--replicas", "2", "--run-id", "mine",
              "--out", str(tmp_path), "--address", machines.dashboard, "--no-wait"]  # fmt: skip
    for stop in (["stop", "mine", "--address", machines.dashboard], ["stop", uri]):
        accepted = run_command(submit)
        assert (accepted.returncode, accepted.stdout) == (0, f"{uri}\n"), accepted.stderr
        follower = subprocess.Popen([*COMMAND, *submit[:-1]], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        other = run_command([*submit, "--seed", "1"])
        assert (other.returncode, "with another command" in other.stderr) == (2, True)
        assert follower.stderr is not None
        assert any(line.startswith("load:") for line in follower.stderr), "the job that works already is joined"
        follower.send_signal(signal.SIGINT)
        assert "the job continues: `skilljobs logs -f mine" in follower.communicate(timeout=30)[1]
        assert follower.returncode == 130
        assert len([job for job in ClusterJobs(machines.dashboard).all() if not job.ended]) == 1
        wait_for(lambda: ": tune" in run_command(["status", uri]).stdout)
        wait_for(
            lambda: re.fullmatch(r"tune: \d+ %, (.* left, )?\d+ of 2000, .*", details_of("mine", machines)["message"])
        )
        wait_for(lambda: names_of_pending(machines) == ["mine/scorer-1"])  # which is what calls an autoscaler
        stopped = run_command(stop)
        assert (stopped.returncode, "stopped" in stopped.stdout) == (0, True), stopped.stderr
        assert "committed shards are kept" in run_command(["logs", uri]).stdout.splitlines()[-1]
    again = run_command(["stop", uri])
    assert (again.returncode, "no job is working on" in again.stderr) == (2, True)


def test_machines_that_come_and_go_change_no_bit(machines: Machines, tmp_path: Path, wide_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(900))
    first = machines.add()
    words = ["submit", "--data", str(data), "--model", str(wide_llama), "--soft-prompt", "random", "--null", "2",
             "--prompt-length", "2", "--shard-size", "12", "--run-id", "mine", "--no-report"]  # fmt: skip
    disturbed = tmp_path / "disturbed"
    submitted = run_command([*words, "--out", str(disturbed), "--address", machines.dashboard, "--no-wait"])
    assert submitted.returncode == 0, submitted.stderr
    shards = disturbed / "mine" / "shards"
    job = ClusterJobs(machines.dashboard).find("mine")

    def committed() -> int:
        return len(list(shards.glob("scores-*.parquet")))

    def log() -> str:
        return ClusterJobs(machines.dashboard).log(job.id)

    wait_for(lambda: committed() >= 2)
    second = machines.add()
    came = time.monotonic()
    wait_for(lambda: "scorer-1 is added" in log())
    assert time.monotonic() - came < 10
    at_coming = committed()
    wait_for(lambda: committed() >= at_coming + 6)
    machines.remove(first, gently=False)
    wait_for(lambda: "scorer-0 went with its machine" in log())
    at_going = committed()
    third = machines.add()
    wait_for(lambda: committed() >= at_going + 4)
    machines.remove(second, gently=True)
    wait_for(lambda: "scorer-1 went with its machine" in log())
    assert not ClusterJobs(machines.dashboard).get(job.id).ended, "the job ended before the machines did"
    wait_for(lambda: ClusterJobs(machines.dashboard).get(job.id).ended)
    assert ClusterJobs(machines.dashboard).get(job.id).outcome == 0, log()
    machines.remove(third, gently=True)

    fourth = machines.add()
    done = run_command([*words, "--out", str(tmp_path / "quiet"), "--address", machines.address])
    machines.remove(fourth, gently=True)
    assert done.returncode == 0, done.stderr
    for layer in ("layer-000.parquet", "layer-001.parquet"):
        expected, found = (tmp_path / name / "mine" / "correlations" / layer for name in ("quiet", "disturbed"))
        assert found.read_bytes() == expected.read_bytes()


@pytest.mark.skipif(subprocess.run(["unshare", "-m", "true"]).returncode != 0, reason="needs a mount namespace")
def test_a_machine_that_does_not_see_the_run_is_named_before_anything_starts(
    machines: Machines, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with machines.blind(hidden):
        done = None
        deadline = time.monotonic() + PATIENCE
        while done is None or "no machine" in done.stderr or "0 and 0" in done.stderr:  # until it has joined
            assert time.monotonic() < deadline
            done = run_command(["submit", "--task", "arithmetic", "--out", str(hidden), "--address", machines.address])
    assert done.returncode == 2
    assert "does not see the run's directory" in done.stderr
    assert "--out must be storage that all machines see" in done.stderr
    assert "load:" not in done.stderr


@pytest.mark.usefixtures("ray_here")
def test_without_machines_a_job_says_how_to_wait_for_them(machines: Machines, tmp_path: Path) -> None:
    done = run_command(["submit", "--task", "arithmetic", "--out", str(tmp_path), "--address", machines.address])
    assert (done.returncode, "the largest machine has 0 and 0 (with --replicas" in done.stderr) == (2, True)
    elsewhere: dict[str, Any] = {"task": "arithmetic", "out": str(tmp_path), "address": machines.address}
    with pytest.raises(InputError, match="connected to another Ray"):
        skilljobs.submit(reporter=SilentReporter(), **elsewhere)
