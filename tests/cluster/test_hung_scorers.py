"""Scorers that are slow or hang: processes that are really stopped."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skilljobs.cluster import deadlines, pulse, scorer_group, single_call
from skilljobs.cluster import pool as pools
from skilljobs.cluster.ledger import MOST_ATTEMPTS
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.scorer_group import ScorerGroup
from skilljobs.errors import JobFailed
from tests.integration.fakes import FakeScorer

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
SHARDS = list(range(8))


@pytest.fixture(autouse=True)
def _no_scorers_are_waiting(ray_here: Callable[[], None]) -> None:
    """They would hold the CPUs."""
    ray_here()


@pytest.fixture(autouse=True)
def _often_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pools, scorer_group, single_call):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def soon_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer is given up soon."""
    monkeypatch.setattr(pulse, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(scorer_group, "LOADING_SECONDS", 1.0)


@pytest.fixture
def start(tmp_path: Path, notes: list[str]) -> Iterator[Callable[[int], ScorerPool]]:
    made: list[ScorerPool] = []

    def start(size: int, shard_timeout: float | None = 1.0) -> ScorerPool:
        group = ScorerGroup(lambda _: FakeScorer.remote(str(tmp_path)), size, notes.append)  # type: ignore[attr-defined]
        made.append(ScorerPool(group, notes.append, shard_timeout=shard_timeout))
        return made[-1]

    yield start
    for pool in made:
        pool.group.close()


def run(pool: ScorerPool, kind: str, overdue: list[str] | None = None) -> list[int]:
    def note_overdue() -> None:
        if overdue is not None:
            overdue.append(str(pool.overdue))

    return list(pool.map(SHARDS, lambda actor, shard: actor.score.remote(shard, kind), note_overdue))


def attempts(folder: Path) -> list[int]:
    return [len(list(folder.glob(f"try-{shard}-*"))) for shard in SHARDS]


def test_a_slow_shard_is_given_to_another_scorer_too_and_counts_once(
    start: Callable[[int], ScorerPool], tmp_path: Path, notes: list[str]
) -> None:
    pool, overdue = start(2), list[str]()
    assert sorted(run(pool, "slow-once", overdue)) == SHARDS
    assert attempts(tmp_path)[3] == 2
    assert (pool.given_twice, pool.retried) == (len(notes), 0)
    assert overdue[0].startswith("1 shard is overdue, given to scorer-")
    assert str(pool.overdue) == ""
    assert all("is given to scorer-" in note for note in notes), "nobody is replaced"
    assert sorted(run(pool, "well")) == SHARDS, "the late result is not taken for one of these"


def test_a_straggler_does_not_hold_the_end(
    start: Callable[..., ScorerPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it is overdue, once there is nothing else to do."""
    monkeypatch.setattr(deadlines, "LEAST_STRAGGLER_SECONDS", 0.5)
    pool = start(2, shard_timeout=None)
    assert sorted(run(pool, "slow-once")) == SHARDS
    assert attempts(tmp_path)[3] == 2
    assert pool.given_twice >= 1


def test_who_is_still_at_a_shard_that_is_done_is_replaced_in_the_end(
    start: Callable[[int], ScorerPool], tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "LOSERS_SECONDS", 0.1)
    pool = start(2)
    assert sorted(run(pool, "slow-for-ever")) == SHARDS
    assert "is at a shard that is no longer needed; scorer-2 takes its place" in notes[-1]
    assert sorted(run(pool, "well")) == SHARDS


@pytest.mark.usefixtures("soon_lost")
def test_a_hung_scorer_is_replaced_and_its_shard_is_charged(
    start: Callable[[int], ScorerPool], tmp_path: Path, notes: list[str]
) -> None:
    pool = start(1)
    assert sorted(run(pool, "hang-once")) == SHARDS
    assert attempts(tmp_path)[3] == 2
    assert (pool.retried, len(notes)) == (1, 1)
    assert notes[0].startswith("scorer-0 has not answered for ")
    assert notes[0].endswith(" s; scorer-1 takes its place")


@pytest.mark.usefixtures("soon_lost")
def test_a_shard_that_hangs_every_scorer_is_named(start: Callable[[int], ScorerPool], tmp_path: Path) -> None:
    pool = start(1)
    with pytest.raises(JobFailed, match=rf"shard 3 failed {MOST_ATTEMPTS} times, the last time: .*has not answered"):
        run(pool, "hang-always")
    assert attempts(tmp_path)[3] == MOST_ATTEMPTS


@pytest.mark.usefixtures("soon_lost")
def test_a_scorer_that_hangs_while_it_loads_is_replaced(
    start: Callable[[int], ScorerPool], tmp_path: Path, notes: list[str]
) -> None:
    (tmp_path / "hang-loading").touch()
    pool = start(1)
    pool.group.first_loaded()
    assert len(notes) == 1
    assert "s of loading; scorer-1 takes its place" in notes[0]


@pytest.mark.usefixtures("soon_lost")
def test_a_generator_that_hangs_starts_again_on_another_scorer(
    start: Callable[[int], ScorerPool], notes: list[str]
) -> None:
    pool, seen = start(1), list[int]()
    pool.run_on_one(lambda actor: actor.count_and_hang.remote(4), seen.append)
    assert seen == [0, 1, 0, 1, 2, 3]
    assert len(notes) == 1
    assert "has not answered for" in notes[0]
