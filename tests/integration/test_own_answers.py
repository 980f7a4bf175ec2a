"""`--metric exact`, through Ray."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import skilljobs
from skilljobs.checkpoints.source import find_model
from skilljobs.lm.batch import tokenize
from skilljobs.lm.greedy import exact_matches
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.examples import examples_of
from skilljobs.store.shards import scores_name

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def submit(out: Path, **options: Any) -> skilljobs.Run:
    return skilljobs.submit(
        task="arithmetic", limit=80, soft_prompt="random", prompt_length=3, null=2, report=False,
        reporter=SilentReporter(), out=str(out), **options
    )  # fmt: skip


def test_exact_is_a_metric_if_it_is_asked_for(tmp_path: Path) -> None:
    run = submit(tmp_path, metric=("exact", "confidence"), shard_size=16, batch_tokens=300)
    source = find_model("tiny")
    lm = FrozenLM(load_model(source, "float32", "cpu"), load_tokenizer(source))
    examples = examples_of(run.examples().collect().to_arrow())
    expected = [
        exact_matches(lm, run.soft_prompt(), tokenize(lm.tokenizer, [example], None), None)[0] for example in examples
    ]
    scores = run.scores().collect()
    assert scores["exact"].to_list() == expected
    assert 0 < sum(expected) < len(expected)
    found = run.correlations().filter(pl.col("metric") == "exact", pl.col("population") == "all").collect()
    assert found["n"].unique().to_list() == [len(examples)]
    again = submit(tmp_path, metric=("exact", "confidence"), shard_size=16, run_id="again", batch_tokens=2000)
    assert again.scores().collect()["exact"].to_list() == expected
    np.testing.assert_allclose(
        again.correlations().filter(pl.col("metric") == "exact").collect()["r"].to_numpy(),
        run.correlations().filter(pl.col("metric") == "exact").collect()["r"].to_numpy(),
        atol=1e-4,
    )


def test_nothing_is_decoded_if_it_is_not_asked_for(tmp_path: Path) -> None:
    run = submit(tmp_path)
    assert "exact" not in run.scores().collect_schema().names()
    assert "exact" not in run.correlations().collect()["metric"].unique()
    assert "exact" not in pl.read_parquet(f"{run.uri}/{scores_name(0)}").columns
