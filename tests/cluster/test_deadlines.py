"""How long a shard may take, and what is said of those that take longer."""

from typing import Any

import pytest

import skilljobs
from skilljobs.cluster import remote_job
from skilljobs.cluster.deadlines import (
    FIRST_SECONDS,
    LEAST_SECONDS,
    LEAST_STRAGGLER_SECONDS,
    TIMES_SLOWEST,
    Deadline,
    Overdue,
)
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter


def test_a_deadline_is_many_times_the_slowest_so_far_and_long_before_anything_was_measured() -> None:
    deadline = Deadline()
    assert deadline.seconds == FIRST_SECONDS
    deadline.took(0.1)
    assert deadline.seconds == LEAST_SECONDS
    deadline.took(50.0)
    deadline.took(7.0)
    assert deadline.seconds == 50.0 * TIMES_SLOWEST >= 500.0


def test_a_fixed_deadline_stays() -> None:
    deadline = Deadline(5.0)
    deadline.took(100.0)
    assert deadline.seconds == 5.0


def test_a_straggler_takes_twice_the_median_once_that_is_known_and_a_fixed_deadline_is_for_stragglers_too() -> None:
    deadline, fixed = Deadline(), Deadline(300.0)
    for seconds in (40.0, 90.0):
        deadline.took(seconds)
        assert deadline.straggler_seconds == deadline.seconds
    for seconds in (30.0, 20.0, 35.0):
        deadline.took(seconds)
        fixed.took(seconds)
    assert deadline.straggler_seconds == 2 * 35.0 < deadline.seconds
    assert fixed.straggler_seconds == 300.0
    short = Deadline()
    for _ in range(9):
        short.took(0.1)
    assert short.straggler_seconds == LEAST_STRAGGLER_SECONDS < short.seconds
    without = Deadline(has_stragglers=False)
    for _ in range(5):
        without.took(35.0)
    assert without.straggler_seconds == without.seconds == 350.0


def test_what_is_overdue_is_said_in_words() -> None:
    overdue = Overdue()
    assert str(overdue) == ""
    overdue[3] = "scorer-2"
    assert str(overdue) == "1 shard is overdue, given to scorer-2 too"
    overdue[4] = "scorer-0"
    assert str(overdue) == "2 shards are overdue, given to scorer-0, scorer-2 too"


def test_a_cluster_is_told_of_a_fixed_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def run_on_cluster(command: str, address: str, out: str, run_id: str, options: dict[str, object], *_: Any) -> str:
        given.update(options)
        return out

    monkeypatch.setattr(remote_job, "run_on_cluster", run_on_cluster)
    on_cluster: dict[str, Any] = {"task": "arithmetic", "address": "http://127.0.0.1:9", "reporter": SilentReporter()}
    skilljobs.submit(shard_timeout=90.0, **on_cluster)
    assert given["--shard-timeout"] == 90.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_deadline_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="--shard-timeout is"):
        skilljobs.submit(task="arithmetic", shard_timeout=seconds, reporter=SilentReporter())
