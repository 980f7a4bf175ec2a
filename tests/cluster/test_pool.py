"""The pool with processes that really die."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from skilljobs.cluster.ledger import MOST_ATTEMPTS
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.scorer_group import ScorerGroup
from skilljobs.errors import InputError, JobFailed
from tests.integration.fakes import FakeScorer

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
SHARDS = list(range(12))


@pytest.fixture(autouse=True)
def _no_scorers_are_waiting(ray_here: Callable[[], None]) -> None:
    """They would hold the CPUs."""
    ray_here()


@pytest.fixture
def notes() -> list[str]:
    return []


def group(folder: Path, size: int, notes: list[str], must_agree: dict[str, str] | None = None) -> ScorerGroup:
    return ScorerGroup(lambda _: FakeScorer.remote(str(folder)), size, notes.append, must_agree)  # type: ignore[attr-defined]


@pytest.fixture
def pool(tmp_path: Path, notes: list[str]) -> Iterator[ScorerPool]:
    made = ScorerPool(group(tmp_path, 2, notes), notes.append)
    yield made
    made.group.close()


def attempts(folder: Path, shard: int) -> int:
    return len(list(folder.glob(f"try-{shard}-*")))


def collect_into(done: list[int], results: Iterator[int]) -> None:
    for shard in results:
        done.append(shard)


def run(pool: ScorerPool, kind: str) -> list[int]:
    return list(pool.map(SHARDS, lambda actor, shard: actor.score.remote(shard, kind)))


def test_every_item_once(pool: ScorerPool, tmp_path: Path) -> None:
    assert sorted(run(pool, "well")) == SHARDS
    assert [attempts(tmp_path, shard) for shard in SHARDS] == [1] * 12
    assert pool.group.model is not None
    assert pool.group.model.parameters > 0


def test_a_machine_with_another_version_is_refused_with_both_named(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "version").write_text("2.13.0")
    scorers = group(tmp_path, 1, notes, {"torch": "2.13.0"})
    made = ScorerPool(scorers, notes.append)
    scorers.first_loaded()
    (tmp_path / "version").write_text("2.12.1")
    late = scorers.add()
    ray.wait([late.loading])
    scorers.take_loaded(late)
    assert len(scorers.members) == 1
    assert scorers.refused_count == 1
    assert sorted(run(made, "well")) == SHARDS
    assert notes == ["scorer-1 on elsewhere is refused: torch 2.12.1 there, 2.13.0 here"]
    made.group.close()


def test_where_every_machine_is_refused_the_job_fails(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "version").write_text("2.12.1")
    made = group(tmp_path, 2, notes, {"torch": "2.13.0"})
    with pytest.raises(JobFailed, match=r"no scorer is left: scorer-\d on elsewhere is refused: torch 2.12.1 there"):
        made.first_loaded()
    assert len(notes) == 2


def test_a_death_charges_only_the_shard_in_hand(pool: ScorerPool, tmp_path: Path, notes: list[str]) -> None:
    assert sorted(run(pool, "die-once")) == SHARDS
    assert attempts(tmp_path, 3) == 2
    assert pool.retried == 1
    assert sum(attempts(tmp_path, shard) for shard in SHARDS) == 13
    assert len(notes) == 1
    assert "takes its place" in notes[0]
    assert "If its machine ran out of memory, use fewer scorers" in notes[0], "a killed process says no more to Ray"


def test_a_shard_that_always_kills_is_named_and_the_rest_is_done(pool: ScorerPool, tmp_path: Path) -> None:
    done: list[int] = []
    results = pool.map(SHARDS, lambda actor, shard: actor.score.remote(shard, "die-always"))
    with pytest.raises(JobFailed, match=f"shard 3 failed {MOST_ATTEMPTS} times"):
        collect_into(done, results)
    assert attempts(tmp_path, 3) == MOST_ATTEMPTS
    assert sorted(done) == [shard for shard in SHARDS if shard != 3]


def test_a_shard_that_kills_before_the_last_result_is_out_is_still_the_one_named(pool: ScorerPool) -> None:
    done: list[int] = []
    results = pool.map(SHARDS, lambda actor, shard: actor.score.remote(shard, "die-at-once"))
    with pytest.raises(JobFailed, match=f"shard 3 failed {MOST_ATTEMPTS} times"):
        collect_into(done, results)
    assert sorted(done) == [shard for shard in SHARDS if shard != 3]


def test_an_exception_is_retried_and_then_told(pool: ScorerPool) -> None:
    assert sorted(run(pool, "raise-once")) == SHARDS
    assert pool.retried == len(SHARDS)
    with pytest.raises(JobFailed, match="ValueError: row 7 is odd"):
        run(pool, "raise-always")


def test_a_generator_starts_again_on_another_actor(pool: ScorerPool, notes: list[str]) -> None:
    seen: list[int] = []
    pool.run_on_one(lambda actor: actor.count.remote(4), seen.append)
    assert seen[-4:] == [0, 1, 2, 3]
    assert seen[:-4] == [0, 1][: len(seen) - 4]
    assert len(notes) == 1


def test_what_an_actor_refuses_is_refused(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "refuse").touch()
    scorers = group(tmp_path, 2, notes)
    with pytest.raises(InputError, match="no such model"):
        scorers.first_loaded()
    scorers.close()


def test_actors_that_die_while_loading_end_the_job(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "die-loading").touch()
    pool = ScorerPool(group(tmp_path, 1, notes), notes.append)
    with pytest.raises(JobFailed, match="scorers died"):
        list(pool.map(SHARDS, lambda actor, shard: actor.score.remote(shard, "well")))
    pool.group.close()
