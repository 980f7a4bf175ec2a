"""A run on object storage: a real S3 server in a process of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pyarrow import fs

import skilljobs
from skilljobs.errors import InputError
from skilljobs.lm.prompt import SoftPrompt
from skilljobs.progress.lease import RunLease
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.exclusive import create
from skilljobs.store.files import Folder
from skilljobs.store.run import PROMPT_NAME
from tests.integration.machines import run_command
from tests.s3_server import s3_server
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """The environment that leads to it, and its log of requests."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with s3_server(log) as environment:
        yield environment, log


@pytest.mark.usefixtures("ray_here")
def test_a_run_there_is_the_run_here(
    server: tuple[dict[str, str], Path], tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, log = server
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(120))
    spec = ["--data", str(data), "--model", str(small_llama), "--soft-prompt", "random", "--prompt-length", "2",
            "--null", "1", "--shard-size", "20", "--run-id", "mine"]  # fmt: skip
    uri = "s3://bucket/runs/mine"
    done = run_command(["submit", *spec, "--out", "s3://bucket/runs"])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, uri), done.stderr
    there = Folder(uri)
    assert there.exists("report.html")
    log_of_puts = [line for line in log.read_text().splitlines() if '"PUT /bucket/runs/mine/shards/' in line]
    assert log_of_puts
    assert not [line for line in log_of_puts if "partNumber" in line], "a small file is one put"

    skilljobs.submit(
        data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=2, null=1, shard_size=20,
        run_id="mine", out=str(tmp_path), report=False, reporter=SilentReporter(),
    )  # fmt: skip
    for layer in ("correlations/layer-000.parquet", "correlations/layer-001.parquet"):
        assert there.read(layer) == (tmp_path / "mine" / layer).read_bytes()
    assert "done on" in run_command(["status", uri]).stdout
    assert uri in run_command(["runs", "--out", "s3://bucket/runs"]).stdout
    run = skilljobs.open_run(uri)
    assert run.top("confidence", k=3).equals(skilljobs.open_run(str(tmp_path / "mine")).top("confidence", k=3))
    assert run.scores().collect().height == sum(run.record.shards)

    there.delete("shards/scores-00001.parquet")
    record = json.loads(there.read("run.json"))
    for stage in ("collect", "reduce"):
        del record["stages"][stage]
    there.write("run.json", json.dumps(record).encode())
    again = run_command(["submit", *spec, "--out", "s3://bucket/runs", "--no-report"])
    shards = len(run.record.shards)
    assert f"collect: {shards - 1} of {shards} shards are committed" in again.stderr
    assert again.returncode == 0, again.stderr
    assert there.read("correlations/layer-001.parquet") == (tmp_path / "mine" / layer).read_bytes()


@pytest.mark.usefixtures("ray_here")
def test_a_prompt_there_is_used_again_and_machines_without_keys_are_named(
    server: tuple[dict[str, str], Path], tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Ray of these tests was started without the keys."""
    for name, value in server[0].items():
        monkeypatch.setenv(name, value)
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    prompt = SoftPrompt(torch.eye(16)[:2].contiguous(), {})
    Folder("s3://bucket/runs/tuned").write(PROMPT_NAME, prompt.to_bytes())

    def submit(out: str, soft_prompt: str) -> skilljobs.Run:
        return skilljobs.submit(
            data=str(data), model=str(small_llama), soft_prompt=soft_prompt, limit=20, null=0, out=out,
            report=False, reporter=SilentReporter(),
        )  # fmt: skip

    used = submit(str(tmp_path), "s3://bucket/runs/tuned")
    assert used.soft_prompt().equal(prompt.vectors)
    with pytest.raises(InputError, match="there is no such run or file"):
        submit(str(tmp_path), "s3://bucket/runs/none")
    with pytest.raises(InputError, match=r"the machine .* does not see the run's directory s3://bucket/runs/"):
        submit("s3://bucket/runs", "random")


def test_a_bucket_that_is_not_there_is_refused(server: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    done = run_command(["submit", "--task", "arithmetic", "--out", "s3://nobucket/runs"], **server[0])
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True), done.stderr


def test_files_of_any_size_are_whole(server: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server[0].items():
        monkeypatch.setenv(name, value)
    folder = Folder("s3://bucket/files")
    for size in (0, 5, 40_000_000):
        folder.write(f"of-{size}", bytes(size))
        assert folder.size(f"of-{size}") == size
    assert folder.filesystem.get_file_info(fs.FileSelector("bucket/files"))
    assert folder.size("none") is None


def test_of_two_drivers_there_one_gets_the_run(
    server: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server[0].items():
        monkeypatch.setenv(name, value)
    folder = Folder("s3://bucket/runs/leased")
    assert create(folder, "lease/000001.json", b"first")
    assert not create(folder, "lease/000001.json", b"second")
    assert folder.read("lease/000001.json") == b"first"
    other = Folder("s3://bucket/runs/other")
    with RunLease(other, print) as lease:
        lease.acquire()
        with RunLease(other, print) as second, pytest.raises(InputError, match="is working on the run"):
            second.acquire()
    with RunLease(other, print) as third:
        third.acquire()
