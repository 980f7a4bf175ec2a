"""An object store that answers with errors, or not at all, while a job works there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skilljobs.store.files import Folder
from tests.integration.machines import run_command
from tests.s3_proxy import Mode, S3Proxy, s3_proxy
from tests.s3_server import s3_server
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]
KEPT = 3
LONG = pytest.mark.skipif("SOAK" not in os.environ, reason="takes seven minutes: run with SOAK=1")


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with s3_server(tmp_path / "log") as environment, s3_proxy(environment) as (proxy, leading_there):
        for name, value in leading_there.items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def command(tmp_path: Path, small_llama: Path) -> list[str]:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(120))
    return ["submit", "--data", str(data), "--model", str(small_llama), "--soft-prompt", "random", "--prompt-length",
            "2", "--null", "1", "--shard-size", "5", "--run-id", "mine", "--no-report"]  # fmt: skip


@LONG
@pytest.mark.parametrize("mode", ["fail", "hang"])
def test_committed_work_stays_and_the_same_command_resumes(
    proxy: S3Proxy, command: list[str], tmp_path: Path, mode: Mode
) -> None:
    here = run_command([*command, "--out", str(tmp_path)])
    assert here.returncode == 0, here.stderr
    proxy.break_after(mode, KEPT, 10**6)
    broken = run_command([*command, "--out", "s3://bucket/runs"])
    assert broken.returncode == 1, broken.stderr
    assert "Traceback" not in broken.stderr
    last = broken.stderr.strip().splitlines()[-2:]
    assert any("the same command" in line for line in last), broken.stderr
    proxy.mend()
    folder = Folder("s3://bucket/runs/mine")
    kept = [name for name in folder.names("shards", ".parquet") if "scores-" in name]
    assert len(kept) >= KEPT
    before = {name: folder.read(name) for name in kept}
    resumed = run_command([*command, "--out", "s3://bucket/runs"])
    assert resumed.returncode == 0, resumed.stderr
    assert {name: folder.read(name) for name in kept} == before
    for layer in ("correlations/layer-000.parquet", "correlations/layer-001.parquet"):
        assert folder.read(layer) == (tmp_path / "mine" / layer).read_bytes()


def test_a_few_errors_cost_nothing(proxy: S3Proxy, command: list[str]) -> None:
    proxy.break_after("fail", KEPT, 2)
    done = run_command([*command, "--out", "s3://bucket/runs"])
    assert done.returncode == 0, done.stderr
    assert proxy.failed == 2
