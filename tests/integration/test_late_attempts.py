"""Attempts at a shard that end after another one was committed: they change nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import skilljobs
from skilljobs.checkpoints.source import find_model
from skilljobs.plan.data_options import resolve_spec
from skilljobs.plan.job_plan import plan_job
from skilljobs.plan.work import ModelSetup, RunWork
from skilljobs.progress.reporter import SilentReporter
from skilljobs.reduce.shard_sums import read_layer
from skilljobs.spec import JobSpec
from skilljobs.store.shards import Receipt, committed_receipt, sums_file, sums_name
from skilljobs.worker import shard_scorer
from skilljobs.worker.scorer import Scorer
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
SHARD = 2
Attempt = Callable[[Path, int], Receipt]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> dict[str, Any]:
    data = write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(60))
    return {"data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 2, "null": 1,
            "shard_size": 10}  # fmt: skip


@pytest.fixture(scope="module")
def original(ray_here: object, tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> Path:
    out = str(tmp_path_factory.mktemp("original"))
    done = skilljobs.submit(out=out, run_id="mine", report=False, reporter=SilentReporter(), **options)
    return Path(done.uri)


@pytest.fixture
def run(original: Path, tmp_path: Path) -> skilljobs.Run:
    """A complete run, at a shard of which another attempt is made."""
    return skilljobs.open_run(str(shutil.copytree(original, tmp_path / "mine")))


@pytest.fixture(scope="module")
def attempt(options: dict[str, Any]) -> Attempt:
    """Scores a shard of a run in this process, as an actor does."""
    spec, _ = resolve_spec(JobSpec.from_values(options))
    plan, source = plan_job(spec), find_model(str(options["model"]))

    def score(folder: Path, number: int) -> Receipt:
        record = skilljobs.open_run(str(folder)).record
        assert record.numerics is not None
        work = RunWork("late", str(folder), record.run_id, spec, source.name, plan.reading, plan.task.answer_end,
                       record.numerics.batch_tokens)  # fmt: skip
        scorer = Scorer(ModelSetup.of(source, record.numerics, spec.selection))
        return scorer.for_run(work).score(SHARD, record.fingerprint.digest, number)

    return score


def shard_files(run: skilljobs.Run) -> dict[str, tuple[bytes, int]]:
    folder = Path(run.uri, "shards")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def committed(run: skilljobs.Run) -> Receipt:
    receipt = committed_receipt(run.folder, SHARD, run.record.fingerprint.digest)
    assert receipt is not None
    return receipt


def sums_of_shard(run: skilljobs.Run) -> float:
    layer = read_layer(run.folder, [SHARD], 0, run.layout())
    assert layer is not None
    return float(sum(column.sum() for column in layer.columns.values()))


@pytest.fixture
def other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The late attempt finds other sums, as where memory did not hold a batch whole."""

    def other(sums: Any, *others: Any) -> pa.Buffer:
        sums.linear[0][:] += 1.0
        return sums_file(sums, *others)

    monkeypatch.setattr(shard_scorer, "sums_file", other)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.usefixtures("other_bits")
def test_an_attempt_that_ends_after_the_commit_changes_nothing(
    run: skilljobs.Run, attempt: Attempt, number: int
) -> None:
    before, receipt = shard_files(run), committed(run)
    assert attempt(Path(run.uri), number) == receipt
    assert shard_files(run) == before


@pytest.mark.usefixtures("other_bits")
def test_an_attempt_that_is_committed_while_another_writes_its_files_does_not_mix_with_it(
    run: skilljobs.Run, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late one has written its sums when the other one is committed."""
    before, seen, rows = shard_files(run), sums_of_shard(run), run.sums().collect().height
    looks: list[None] = []

    def look(*place: Any) -> Receipt | None:
        looks.append(None)
        return None if len(looks) == 1 else committed_receipt(*place)

    monkeypatch.setattr(shard_scorer, "committed_receipt", look)
    assert attempt(Path(run.uri), 1) == committed(run)
    after = shard_files(run)
    assert set(after) - set(before) == {"sums-00002.a1.parquet", "moments-00002.a1.parquet"}
    assert {name: after[name] for name in before} == before
    assert sums_of_shard(run) == seen
    assert run.sums().collect().height == rows, "a shard counts once"


@pytest.mark.usefixtures("other_bits")
def test_an_attempt_that_is_committed_at_the_same_moment_counts_whole(
    run: skilljobs.Run, attempt: Attempt, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts that both find nothing committed both commit, and the later one counts."""
    first, seen, rows = committed(run), sums_of_shard(run), run.sums().collect().height
    monkeypatch.setattr(shard_scorer, "committed_receipt", lambda *_: None)
    late = attempt(Path(run.uri), 1)
    own = {"shards/sums-00002.a1.parquet", "shards/moments-00002.a1.parquet"}
    assert set(late.files) == {"examples/part-00002.parquet", *own}
    assert committed(run).files == late.files != first.files
    assert sums_of_shard(run) != seen
    assert run.sums().collect().height == rows, "a shard counts once"

    forget(run, "collect", "reduce")
    resumed = skilljobs.submit(
        out=str(Path(run.uri).parent), run_id="mine", report=False, reporter=SilentReporter(), **options
    )
    assert committed(resumed).files == late.files
    assert not Path(run.uri, sums_name(SHARD)).exists(), "what does not count is deleted"
    assert len(list(Path(run.uri, "shards").glob("sums-*.parquet"))) == len(run.record.shards)
    assert resumed.top("confidence", k=1).height == 1


def forget(run: skilljobs.Run, *stages: str) -> None:
    record = json.loads(Path(run.uri, "run.json").read_text())
    for stage in stages:
        del record["stages"][stage]
    Path(run.uri, "run.json").write_text(json.dumps(record))
