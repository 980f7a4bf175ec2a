"""The invariants of a run, on real model files and through Ray."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import skilljobs
from skilljobs.errors import InputError
from skilljobs.lm.prompt import SoftPrompt
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.examples import examples_of
from skilljobs.store.shards import scores_name
from tests.integration.oracle import PlainModel, activations_and_confidence
from tests.models import PLANTED_LAYER, PLANTED_NEURON, PLANTED_WORD, save_planted
from tests.tables import planted_rows, random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def submit(out: Path, **spec: object) -> skilljobs.Run:
    return skilljobs.submit(out=str(out), reporter=SilentReporter(), report=False, **spec)  # type: ignore[arg-type]


def run_examples(run: skilljobs.Run) -> list[skilljobs.Example]:
    return examples_of(run.examples().collect().to_arrow())


def files_of(run: skilljobs.Run, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(run.uri).glob(pattern))}


def centred_r(a: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Correlation of each column of `a` with `y`, both about the means of their groups."""
    a, y = a.copy(), y.copy()
    for group in np.unique(groups):
        a[groups == group] -= a[groups == group].mean(0)
        y[groups == group] -= y[groups == group].mean()
    return (a * y[:, None]).sum(0) / np.sqrt((a**2).sum(0) * (y**2).sum())


@pytest.mark.parametrize("tokens", ["mean", "each", "last"])
def test_correlations_equal_numpy_on_a_plain_forward(tmp_path: Path, small_llama: Path, tokens: str) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(150))
    run = submit(tmp_path, data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=3, tokens=tokens,
                 by="kind", null=2, shard_size=17, batch_tokens=300)  # fmt: skip
    examples = run_examples(run)
    activations, confidence = activations_and_confidence(PlainModel(small_llama), examples, run.soft_prompt())
    match tokens:
        case "mean":
            activations = activations.mean(2, keepdims=True)
        case "last":
            activations = activations[:, :, -1:]
    correlations = run.correlations().collect()
    level = np.array([np.nan if e.metrics["level"] is None else e.metrics["level"] for e in examples], np.float64)
    kind = np.array([e.metrics["kind"] for e in examples])
    external = {
        "confidence": confidence,
        "words": np.array([e.metrics["words"] for e in examples], np.float64),
        "banana": np.array([e.metrics["banana"] for e in examples], np.float64),
        "level": level,
    }
    compared = 0
    for metric, values in external.items():
        for population in ("all", "kind=a", "within:kind"):
            rows = ~np.isnan(values) & (kind == "a" if population == "kind=a" else True)
            groups = kind[rows] if population == "within:kind" else np.zeros(rows.sum())
            of_pair = correlations.filter(pl.col("metric") == metric, pl.col("population") == population)
            for layer, by_token in enumerate(np.moveaxis(activations[rows], 1, 0)):
                found = of_pair.filter(pl.col("layer") == layer).sort("token", "neuron")
                flat = by_token.reshape(rows.sum(), -1)
                expected = centred_r(flat, values[rows], groups)
                tolerance = 1e-6 * np.maximum(1, np.sqrt((flat**2).mean(0)) / flat.std(0))
                assert (np.abs(found["r"].to_numpy() - expected) <= tolerance).all()
                assert found["n"].unique().to_list() == [rows.sum()]
                np.testing.assert_allclose(found["activation_mean"], flat.mean(0), rtol=1e-4, atol=1e-6)
                compared += len(expected)
    assert compared == 4 * 3 * 2 * 24 * (3 if tokens == "each" else 1)
    if tokens == "each":
        keys = ["metric", "population", "layer", "neuron"]
        expected_best = correlations.sort(pl.col("r").abs(), descending=True).group_by(keys).first().drop_nulls("r")
        both = run.best().collect().join(expected_best, on=keys)
        assert len(both) == len(expected_best) == run.best().collect().height
        assert both["token"].to_list() == both["token_right"].to_list()
        np.testing.assert_allclose(both["p"], np.minimum(1, 3 * both["p_right"].to_numpy()))
    else:
        assert not Path(run.uri, "best.parquet").exists()


def test_padding_batch_size_and_order_change_nothing_but_rounding(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(120))
    common = {"data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 3, "null": 0}
    one_by_one = submit(tmp_path, **common, batch_tokens=1)
    together = submit(tmp_path, **common, batch_tokens=10_000, shard_size=11)
    keys = ["layer", "neuron", "metric", "population"]
    both = one_by_one.correlations().join(together.correlations(), on=keys).collect()
    spread = (pl.col("activation_mean") ** 2 + pl.col("activation_std") ** 2).sqrt() / pl.col("activation_std")
    worst = both.select(((pl.col("r") - pl.col("r_right")).abs() / pl.max_horizontal(1.0, spread)).max()).item()
    assert worst <= 1e-6
    assert len(both) == one_by_one.correlations().collect().height


def test_same_bits_for_any_replicas_any_order_and_any_resume(tmp_path: Path, wide_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(100))
    spec = {"data": str(data), "model": str(wide_llama), "soft_prompt": "random", "prompt_length": 2, "by": "kind",
            "null": 2, "shard_size": 8}  # fmt: skip
    undisturbed = submit(tmp_path / "one", replicas=1, **spec)
    shards = len(undisturbed.record.shards)
    assert shards >= 4
    resumed = submit(tmp_path / "two", replicas=2, **spec)
    expected = files_of(undisturbed, "correlations/*.parquet")
    assert files_of(resumed, "correlations/*.parquet") == expected

    for lost in (0, shards - 1):
        Path(resumed.uri, scores_name(lost)).unlink()
    sums = Path(resumed.uri, "shards", "sums-00001.parquet")
    sums.write_bytes(sums.read_bytes()[:-7])
    kept = Path(resumed.uri, scores_name(2)).stat().st_mtime_ns
    forget_stages(resumed, "collect", "reduce")
    again = submit(tmp_path / "two", replicas=2, **spec)
    assert Path(resumed.uri, scores_name(0)).exists()
    assert files_of(again, "correlations/*.parquet") == expected
    assert Path(resumed.uri, scores_name(2)).stat().st_mtime_ns == kept, "a committed shard was scored again"


def forget_stages(run: skilljobs.Run, *stages: str) -> None:
    record = json.loads(Path(run.uri, "run.json").read_text())
    for stage in stages:
        del record["stages"][stage]
    Path(run.uri, "run.json").write_text(json.dumps(record))


def test_a_planted_neuron_ranks_first(tmp_path: Path) -> None:
    model = save_planted(tmp_path / "planted")
    data = write_jsonl(tmp_path / "table.jsonl", planted_rows(400, PLANTED_WORD))
    run = submit(tmp_path, data=str(data), model=str(model), metric="word_is_there", soft_prompt="random",
                 prompt_length=4)  # fmt: skip
    top = run.top("word_is_there", k=2)
    assert top.select("layer", "neuron").row(0) == (PLANTED_LAYER, PLANTED_NEURON)
    assert abs(top["r"][0]) > 0.99
    assert abs(top["r"][1]) < 0.9


def test_a_constant_neuron_or_metric_has_no_r(tmp_path: Path) -> None:
    model = save_planted(tmp_path / "planted")
    rows = [row | {"always": 3, "temperature": 0.7} for row in planted_rows(120, PLANTED_WORD)]
    for row in rows:
        row["text"] = row["text"].replace(PLANTED_WORD, "")
    data = write_jsonl(tmp_path / "table.jsonl", rows)
    run = submit(tmp_path, data=str(data), model=str(model), soft_prompt="random", prompt_length=4)
    correlations = run.correlations().collect()
    constant = correlations.filter(pl.col("metric").is_in(["always", "temperature"]))
    assert constant["r"].null_count() == len(constant) > 0
    planted = correlations.filter(pl.col("neuron") == PLANTED_NEURON, pl.col("metric") == "text_tokens")
    assert planted["activation_std"][0] < 1e-3
    undefined = correlations.filter(pl.col("r").is_null())
    for column in ("ci_low", "ci_high", "p", "q"):
        assert undefined[column].null_count() == len(undefined)
    assert not correlations.select(pl.col("r", "p", "q", "r_half0", "r_half1").is_nan().any()).row(0).count(True)


def test_a_changed_spec_is_refused_by_name(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    spec = {"data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 2, "null": 1}
    submit(tmp_path, run_id="mine", **spec)
    with pytest.raises(InputError, match=r"prompt_length = 2, now it is 3"):
        submit(tmp_path, run_id="mine", **(spec | {"prompt_length": 3}))
    other = write_jsonl(tmp_path / "other.jsonl", random_rows(60, seed=1))
    with pytest.raises(InputError, match=r"data = '.*table.jsonl', now it is '.*other.jsonl'"):
        submit(tmp_path, run_id="mine", **(spec | {"data": str(other)}))
    write_jsonl(data, random_rows(60, seed=1))
    with pytest.raises(InputError, match="examples_digest"):
        submit(tmp_path, run_id="mine", **spec)


def test_what_cannot_change_a_number_may_change_on_resume_and_is_recorded(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    spec = {"model": str(small_llama), "soft_prompt": "random", "prompt_length": 2, "null": 1, "run_id": "mine"}
    run = submit(tmp_path, data=str(data), **spec)
    correlations = files_of(run, "correlations/*.parquet")
    forget_stages(run, "reduce")
    moved = data.rename(tmp_path / "moved.jsonl")
    again = submit(tmp_path, data=str(moved), max_bad_rows=0.5, max_sums_gb=1.0, **spec)
    assert files_of(again, "correlations/*.parquet") == correlations
    recorded = again.record.job_spec
    assert (recorded.max_bad_rows, recorded.max_sums_gb, recorded.data) == (0.5, 1.0, str(moved))


def test_a_reused_prompt_is_known_by_its_values(tmp_path: Path, small_llama: Path) -> None:
    """A file of the same prompt has other bytes: safetensors writes metadata in any order."""
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    first, same = tmp_path / "first.safetensors", tmp_path / "same.safetensors"
    vectors = torch.arange(32.0).reshape(2, 16) / 32
    first.write_bytes(SoftPrompt(vectors, {"steps": "1"}).to_bytes())
    same.write_bytes(SoftPrompt(vectors, {"steps": "2", "task": "other"}).to_bytes())
    spec = {"data": str(data), "model": str(small_llama), "null": 1, "run_id": "mine"}
    run = submit(tmp_path, soft_prompt=str(first), **spec)
    assert submit(tmp_path, soft_prompt=str(same), **spec).uri == run.uri
    first.write_bytes(SoftPrompt(vectors * 2).to_bytes())
    with pytest.raises(InputError, match="soft_prompt = 'tensor"):
        submit(tmp_path, soft_prompt=str(first), **spec)


def test_tuning_sees_no_test_row_and_beats_a_random_prompt(tmp_path: Path) -> None:
    common = {"task": "arithmetic", "limit": 40, "null": 0, "prompt_length": 4}
    tuned = submit(tmp_path, **common, tune_steps=25)
    tested = set(tuned.examples().collect()["unit"])
    seen = pl.read_parquet(Path(tuned.uri, "prompt", "examples.parquet"))
    assert set(seen["split"]) == {"train", "validation"}
    assert not tested & set(seen["unit"])
    random = submit(tmp_path, **common, soft_prompt="random")
    assert tuned.record.accuracy.after is not None
    assert random.record.accuracy.after is not None
    assert tuned.record.accuracy.after > random.record.accuracy.after
    assert tuned.record.accuracy.before == random.record.accuracy.after
    curve = tuned.tuning().collect()
    assert curve.columns == ["step", "split", "loss", "accuracy"]
    best = curve.filter(pl.col("split") == "validation")["loss"].min()
    assert best == pytest.approx(float(curve.filter(pl.col("split") == "validation").sort("loss")["loss"][0]))
    reused = submit(tmp_path, **common, soft_prompt=tuned.uri)
    assert reused.soft_prompt().equal(tuned.soft_prompt())
