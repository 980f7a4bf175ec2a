"""What the driver does for each shard, with many scorers that only wait, and how much of their time they are busy.

`python -m tests.benchmarks.many_actors [--actors N] [--shards N] [--seconds S] [--straggler S]`

One process plays several scorers, each of which does one shard at a time: the driver cannot tell them from processes of
their own, and a machine of few cores can hold them.
"""

import json
import threading
import time
from pathlib import Path
from typing import Any

import click
import ray

from skilljobs.cluster import pool as pools
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.scorer_group import ScorerGroup
from tests.integration.fakes import fake_model

SCORERS_OF_A_PROCESS = 64


@ray.remote(num_cpus=0, max_concurrency=4 * SCORERS_OF_A_PROCESS, concurrency_groups={"pulse": 4})
class WaitingScorers:
    """Several scorers that wait instead of computing."""

    def __init__(self, seconds: float, straggler_seconds: float) -> None:
        self._seconds, self._straggler = seconds, straggler_seconds
        self._locks = [threading.Lock() for _ in range(SCORERS_OF_A_PROCESS)]

    @ray.method(concurrency_group="pulse")
    def ping(self) -> None: ...

    def load(self) -> Any:
        return fake_model({})

    def score(self, scorer: int, shard: int, attempt: int, last: int) -> int:
        with self._locks[scorer]:
            slow = shard == last and attempt == 0 and self._straggler
            time.sleep(self._straggler if slow else self._seconds)
        return shard


class OneOfThem:
    """A scorer as the pool is given one."""

    def __init__(self, process: Any, number: int) -> None:
        self.process, self.number = process, number
        self.load, self.ping = process.load, process.ping


def measure(actors: int, shards: int, seconds: float, straggler: float) -> dict[str, float]:
    """CPU seconds of the driver for a shard, and the share of the time in which the scorers were busy."""
    processes = [WaitingScorers.remote(seconds, straggler) for _ in range(-(-actors // SCORERS_OF_A_PROCESS))]  # type: ignore[attr-defined]
    made = iter(range(actors))

    def start(name: str) -> Any:
        number = next(made)
        return OneOfThem(processes[number % len(processes)], number // len(processes))

    group = ScorerGroup(start, actors, print)
    group.first_loaded()
    ray.get([member.loading for member in group.members])
    # a scorer that lost would be replaced, but here it shares its process with others
    pools.LOSERS_SECONDS = straggler + seconds
    pool, attempts = ScorerPool(group, print), [0] * shards

    def call(actor: Any, shard: int) -> Any:
        attempts[shard] += 1
        return actor.process.score.remote(actor.number, shard, attempts[shard] - 1, shards - 1)

    begun, cpu = time.perf_counter(), time.process_time()
    results, first = [], 0.0
    for result in pool.map(range(shards), call):
        results.append(result)
        first = time.perf_counter() - begun
    cpu = time.process_time() - cpu
    assert sorted(results) == list(range(shards))
    return {
        "driver_ms": 1000 * cpu / shards,
        "seconds": first,
        "efficiency": -(-shards // actors) * seconds / first,
        "given_twice": pool.given_twice,
    }


@click.command()
@click.option("--actors", default=64)
@click.option("--shards", default=1024)
@click.option("--seconds", default=4.0, help="Of a shard.")
@click.option("--straggler", default=0.0, help="Seconds that the last shard takes at the first scorer it is given to.")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(actors: int, shards: int, seconds: float, straggler: float, json_file: str | None) -> None:
    """Measure the driver of many scorers."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    figures = measure(actors, shards, seconds, straggler)
    click.echo(
        f"{actors} scorers, {shards} shards of {seconds:g} s: the driver takes {figures['driver_ms']:.2f} ms of CPU a"
        f" shard; last result after {figures['seconds']:.1f} s, efficiency {figures['efficiency']:.3f};"
        f" {figures['given_twice']:.0f} given twice"
    )
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
