"""Whole jobs with predictivity, against plain forward passes, one example at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import skilljobs
from skilljobs.errors import InputError
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.run import TUNING_EXAMPLES_NAME
from tests.integration.oracle import PlainModel
from tests.tables import random_rows, write_jsonl


def submit(model: Path, out: Path, **options: object) -> skilljobs.Run:
    rows = random_rows(160)
    for row in rows[::5]:
        row["odd"] = None
    for number, row in enumerate(rows):
        row.setdefault("odd", number % 2 == 1)
    common = {
        "soft_prompt": "random", "prompt_length": 3, "null": 1, "shard_size": 16, "run_id": "mine", "report": False,
        "by": ("kind",), "statistic": "predictivity",
    }  # fmt: skip
    return skilljobs.submit(
        data=str(write_jsonl(out / "table.jsonl", rows)),
        model=str(model),
        out=str(out),
        **{**common, **options},  # type: ignore[arg-type]
    )


def plain_activations(model: Path, run: skilljobs.Run) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of the train and of the test examples: layers x positions x neurons each."""
    plain = PlainModel(model)
    prompt = read_prompt_bytes(Path(run.uri, "prompt", "soft_prompt.safetensors").read_bytes()).vectors
    tuning = examples_from(Folder(run.uri).read(TUNING_EXAMPLES_NAME))
    train = [example.text for example in tuning if example.split == "train"]
    test = run.examples().collect()["text"].to_list()
    with torch.no_grad():
        return [plain.run(text, prompt, " 1")[0] for text in train], [plain.run(text, prompt, " 1")[0] for text in test]


@pytest.mark.ray
def test_predictivity_is_that_of_counting(ray_here: Callable[[], None], small_llama: Path, tmp_path: Path) -> None:
    run = submit(small_llama, tmp_path)
    train, test = (np.stack(part) for part in plain_activations(small_llama, run))
    thresholds = train.mean(0)
    stored = pl.read_parquet(f"{run.uri}/thresholds.parquet")
    assert np.allclose(stored["threshold"].to_numpy(), thresholds.ravel(), atol=1e-5)
    above = test > thresholds
    close = (np.abs(test - thresholds) < 1e-5).any(0)
    examples = run.examples().collect()
    for metric in ("banana", "odd"):
        for population in ("all", "kind=a", "within:kind"):
            rows = run.correlations().filter(metric=metric, population=population).sort("layer", "neuron").collect()
            inside = (examples["kind"].to_numpy() == "a") if population == "kind=a" else np.ones(len(examples), bool)
            y = examples[metric].cast(pl.Float64).to_numpy()
            strengths = []
            for half in (0, 1):
                chosen = inside & (examples["half"].to_numpy() == half) & ~np.isnan(y)
                right = (above[chosen] == y[chosen, None, None, None]).mean(0)
                is_told = above[chosen].any(0) & ~above[chosen].all(0)
                strengths.append(np.abs(np.where(is_told, right, np.nan) - 0.5))
            token = np.where(np.isnan(strengths[0]), -1, strengths[0]).argmax(1)
            expected = np.take_along_axis(strengths[1], token[:, None], 1)[:, 0]
            usable = ~close.any(1) & ~np.isnan(strengths[0]).all(1)
            found = rows["predictivity"].to_numpy().reshape(usable.shape)
            assert usable.mean() > 0.9
            assert np.allclose(found[usable], expected[usable], equal_nan=True)
            assert (rows["predictivity_token"].to_numpy().reshape(usable.shape)[usable] == token[usable]).all()
    assert run.correlations().filter(metric="words").collect()["predictivity"].is_null().all()
    plain = submit(small_llama, tmp_path, run_id="plain", statistic="r")
    same = plain.correlations().sort("layer", "neuron", "metric", "population").collect()["r"]
    beside = run.correlations().sort("layer", "neuron", "metric", "population").collect()["r"]
    assert np.allclose(same.to_numpy(), beside.to_numpy(), atol=1e-12, equal_nan=True)
    best = run.top("banana", k=3, sort="predictivity")["predictivity"]
    everything = run.correlations().filter(metric="banana", population="all").collect()["predictivity"]
    assert best[0] == everything.max()
    with pytest.raises(InputError, match="has no predictivity: submit it with --statistic predictivity"):
        plain.top("banana", sort="predictivity")
    with pytest.raises(InputError, match="statistic"):
        submit(small_llama, tmp_path, statistic="r")


@pytest.mark.ray
def test_predictivity_is_the_mean_over_prompts(ray_here: Callable[[], None], small_llama: Path, tmp_path: Path) -> None:
    run = submit(small_llama, tmp_path, prompts=2, keep_null=True)
    order = ("layer", "neuron", "metric", "population")
    single = [prompt.correlations().sort(order).collect()["predictivity"].to_numpy() for prompt in run.prompts()]
    mean = run.correlations().sort(order).collect()["predictivity"].to_numpy()
    assert len(single) == 2
    assert np.allclose(mean, (single[0] + single[1]) / 2, equal_nan=True)
    assert np.isfinite(mean).any()


def test_predictivity_needs_a_yes_no_metric(small_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is about yes/no metrics, and none of the job's is one"):
        submit(small_llama, tmp_path, metric=("words",), by=())
