import time
from functools import partial
from pathlib import Path

import pytest

from skilljobs.cluster.reduce_tasks import HERE_BYTES, ReduceHere, ReduceTasks, reduce_all, reduce_steps, reducers
from skilljobs.errors import JobFailed
from skilljobs.progress.reporter import SilentReporter
from skilljobs.reduce.layers import reduce_layer
from tests.benchmarks.synthetic_run import Shape, write_run


class CountingReporter(SilentReporter):
    def __init__(self) -> None:
        self.done: list[int] = []

    def advance(self, done: int, detail: str = "") -> None:
        self.done.append(done)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_this_process_and_tasks_write_the_same_bytes(tmp_path: Path) -> None:
    shape = Shape(layers=3, width=40, metrics=3, nulls=2, groups=2, shards=4)
    tables: list[dict[str, bytes]] = []
    for kind in (ReduceHere, ReduceTasks):
        uri = tmp_path / kind.__name__
        write_run(str(uri), shape)
        job, reporter = shape.reduce_job(str(uri)), CountingReporter()
        reduce_all(job, partial(reduce_layer, job), kind(reporter))
        assert reporter.done == list(range(1, reduce_steps(3, shape.layout) + 1))
        assert not (uri / "unranked").exists()
        tables.append({file.name: file.read_bytes() for file in uri.rglob("*.parquet")})
    assert {"top.parquet", "null_maxima.parquet", "layer-002.parquet"} <= tables[0].keys()
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("size", "here"), [(0, False), (1, True), (HERE_BYTES, True), (HERE_BYTES + 1, False)])
def test_little_is_reduced_here(size: int, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.nodes", lambda: [{"NodeID": "a", "Alive": True, "Resources": {"CPU": 2}}])
    assert isinstance(reducers(size, SilentReporter()), ReduceHere if here else ReduceTasks)


def test_what_fails_here_is_named() -> None:
    def fails() -> None:
        raise OSError("the disk is full")

    with pytest.raises(JobFailed, match="a reducer failed: OSError: the disk is full"):
        ReduceHere(SilentReporter()).run_all("reduce_layer", "layers", [fails, lambda: None])


def test_an_interrupt_leaves_what_has_not_begun() -> None:
    begun = []

    class Interrupted(SilentReporter):
        def advance(self, done: int, detail: str = "") -> None:
            raise KeyboardInterrupt

    def work() -> None:
        begun.append(1)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        ReduceHere(Interrupted()).run_all("reduce_layer", "layers", [work] * 200)
    assert len(begun) < 50
