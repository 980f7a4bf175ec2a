"""Stopping when the correlations are known well enough."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import skilljobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from skilljobs.reduce.stopping import FEWEST_EXAMPLES, prefixes
from skilljobs.spec import JobSpec
from tests.tables import random_rows, write_jsonl


def test_prefixes_grow_with_the_run() -> None:
    assert list(prefixes(2)) == []
    assert list(prefixes(6)) == [2, 3, 4, 5]
    of_many = list(prefixes(1024))
    assert of_many[-1] < 1024
    assert len(of_many) < 120
    assert of_many == sorted(set(of_many))


def test_a_width_that_means_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 2"):
        JobSpec(task="arithmetic", until_ci=2.5)
    with pytest.raises(InputError, match="--prompts makes several"):
        JobSpec(task="arithmetic", until_ci=0.1, prompts=2)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_few_examples_are_never_enough(tmp_path: Path, small_llama: Path) -> None:
    """Among 48 neurons and 30 examples some |r| is large by chance, and its interval narrow."""
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(150))
    run = skilljobs.submit(
        data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=2, null=1, shard_size=4,
        metric="words", out=str(tmp_path), reporter=SilentReporter(), report=False, until_ci=1.9,
    )  # fmt: skip
    assert run.record.stopped_at is None
    assert sum(run.record.shards) < FEWEST_EXAMPLES


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_run_stops_at_the_same_shard_whoever_works_on_it(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(600))
    spec: dict[str, Any] = {
        "data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 2, "null": 1,
        "shard_size": 15, "metric": ("words", "confidence"),
    }  # fmt: skip

    def submit(name: str, replicas: int, **more: Any) -> skilljobs.Run:
        return skilljobs.submit(
            out=str(tmp_path / name), replicas=replicas, reporter=SilentReporter(), report=False, **spec, **more
        )

    stopped = submit("stopped", 2, until_ci=0.3)
    shards = stopped.record.shards
    assert 2 <= len(shards) < len(stopped.record.fingerprint.fields["shard_sizes"])
    assert stopped.record.stopped_at == len(shards)
    assert stopped.committed_numbers() == list(range(len(shards)))
    assert stopped.examples().collect().height == stopped.scores().collect().height == sum(shards)

    correlations = stopped.correlations().filter(pl.col("population") == "all").collect()
    assert (correlations["ci_high"] - correlations["ci_low"]).max() < 0.3  # type: ignore[operator]
    assert sum(shards) >= FEWEST_EXAMPLES
    assert stopped.correlations().filter(pl.col("population") == "all").collect()["n"].max() == sum(shards)
    alone = submit("alone", 1, until_ci=0.3)
    for layer in range(2):
        name = f"correlations/layer-{layer:03d}.parquet"
        assert Path(alone.uri, name).read_bytes() == Path(stopped.uri, name).read_bytes()
    assert submit("stopped", 2, until_ci=0.3).record.shards == shards, "complete already"
