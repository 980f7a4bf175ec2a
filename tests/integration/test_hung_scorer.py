"""A job one of whose scorers really hangs: its process is stopped while it computes."""

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import skilljobs
from tests.cluster.test_shared_scorers import processes_of_scorers
from tests.integration.machines import wait_for
from tests.integration.test_damage import Notes
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.slow]


class Details(Notes):
    """Keeps what is shown of progress, and what stages say at their end, too; calls `after_three` at three shards."""

    def __init__(self, after_three: Callable[[], None]) -> None:
        super().__init__()
        self._after_three = after_three

    def advance(self, done: int, detail: str) -> None:
        self.notes.append(detail)
        if detail.startswith("3 of "):
            self._after_three()

    def end(self, detail: str, seconds: float) -> None:
        self.notes.append(detail)


Submit = Callable[[Path, int, Notes], skilljobs.Run]


@pytest.fixture(scope="module")
def submit(tmp_path_factory: pytest.TempPathFactory, wide_llama: Path) -> Submit:
    data = write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(300))

    def submit(out: Path, replicas: int, reporter: Notes) -> skilljobs.Run:
        return skilljobs.submit(
            data=str(data), model=str(wide_llama), soft_prompt="random", prompt_length=2, null=1, shard_size=8,
            out=str(out), run_id="mine", report=False, replicas=replicas, shard_timeout=2.0, reporter=reporter,
        )  # fmt: skip

    return submit


@pytest.fixture(scope="module")
def quiet(ray_here: object, tmp_path_factory: pytest.TempPathFactory, submit: Submit) -> Path:
    return Path(submit(tmp_path_factory.mktemp("quiet"), 2, Notes()).uri, "correlations")


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_scorer_that_hangs_costs_no_bit(
    ray_here: Callable[[], None], tmp_path: Path, submit: Submit, quiet: Path, replicas: int
) -> None:
    ray_here()
    hung, earlier = list[int](), processes_of_scorers()

    def stop_one() -> None:
        hung.append(min(processes_of_scorers() - earlier))
        psutil.Process(hung[0]).send_signal(signal.SIGSTOP)

    disturbed = Details(after_three=stop_one)
    run = submit(tmp_path, replicas, disturbed)
    text = "\n".join(disturbed.notes)
    assert f"scorer-{replicas} takes its place" in text
    if replicas == 1:
        assert "scorer-0 has not answered for" in text
    else:
        assert "overdue, given to scorer-" in text
        assert "given out twice" in text
    wait_for(lambda: not psutil.pid_exists(hung[0]))
    assert quiet.is_dir()
    for layer in quiet.iterdir():
        assert Path(run.uri, "correlations", layer.name).read_bytes() == layer.read_bytes()
