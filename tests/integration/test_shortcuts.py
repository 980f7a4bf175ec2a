"""Looking for shortcuts in models in which one was planted, through Ray."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import LlamaForCausalLM

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.run import RunFiles
from skilljobs.store.shortcut_files import damaged_shortcuts
from tests.models import PLANTED_LAYER, PLANTED_NEURON, PLANTED_WORD, llama_config, save, save_planted
from tests.tables import choice_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

SOAK = pytest.mark.skipif("SOAK" not in os.environ, reason="searches ten models: run with SOAK=1")
CHOICES = (" banana", " plus")
WORD = PLANTED_WORD.strip()
PROPERTY = f"the text has the word {WORD!r}"
NEURON = f"{PLANTED_LAYER}/{PLANTED_NEURON}"


def submit(model: Path, out: Path, rows: Sequence[dict[str, Any]] | None = None, **options: Any) -> skilljobs.Run:
    out.mkdir(parents=True, exist_ok=True)
    data = write_jsonl(out / "table.jsonl", rows or choice_rows(500, PLANTED_WORD, CHOICES))
    common = {"soft_prompt": "random", "prompt_length": 3, "null": 1, "report": False, "reporter": SilentReporter()}
    common |= {"shard_size": 40, "batch_tokens": 2000}
    return skilljobs.submit(data=str(data), model=str(model), out=str(out), **{**common, **options})


def search(run: skilljobs.Run, **options: Any) -> pl.DataFrame:
    common = {"neuron": NEURON, "draws": 29, "report": False, "reporter": SilentReporter()}
    return run.shortcuts(**{**common, **options})


@pytest.fixture(scope="module")
def deciding(ray_here: object, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    """A run of a model whose answer one neuron decides."""
    folder = tmp_path_factory.mktemp("deciding")
    return submit(save_planted(folder / "model", writes=1.0), folder / "runs")


def test_a_planted_neuron_that_decides_the_answer_is_a_shortcut(deciding: skilljobs.Run) -> None:
    record = Path(deciding.uri, "run.json").read_bytes()
    rows = search(deciding)
    first = rows.row(0, named=True)
    assert (first["property"], first["verdict"], first["points_to"]) == (PROPERTY, "shortcut", "banana")
    assert first["fall_p"] <= 0.05
    assert first["margin_fall_p"] <= 0.05
    assert rows.filter(verdict="shortcut")["property"].unique().to_list() == [PROPERTY], (
        "what goes with it is told apart"
    )
    assert Path(deciding.uri, "run.json").read_bytes() == record, "a search leaves the run's record as it is"
    # the figures of the property, from the run's own tables
    examples = deciding.examples().filter(pl.col("half") == 1).join(deciding.scores(), on="example_id").collect()
    has = examples["text"].str.contains(PLANTED_WORD).to_numpy()
    correct, right = examples["correct"].to_numpy(), examples["answer"].to_numpy()
    said_first = np.where(right == 0, correct, ~correct)
    assert first["n_with"] == has.sum()
    assert first["accuracy_with"] == pytest.approx(correct[has].mean())
    assert first["confidence_without"] == pytest.approx(examples["confidence"].to_numpy()[~has].mean())
    rates = [
        said_first[has & (right == answer)].mean() - said_first[~has & (right == answer)].mean() for answer in (0, 1)
    ]
    weights = [1 / (1 / (has & (right == answer)).sum() + 1 / (~has & (right == answer)).sum()) for answer in (0, 1)]
    assert first["rate"] == pytest.approx(np.average(rates, weights=weights))
    for name, holds in (("examples_for", True), ("examples_against", False)):
        texts = examples.filter(pl.col("example_id").is_in(first[name]))["text"]
        assert len(texts) == 3
        assert texts.str.contains(PLANTED_WORD).all() is holds or not texts.str.contains(PLANTED_WORD).any()


def test_what_is_damaged_or_missing_is_named_and_made_again(
    deciding: skilljobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = search(deciding)
    folder = Path(deciding.uri, "shortcuts", before["shortcuts"][0])
    assert damaged_shortcuts(RunFiles(deciding.uri)) == []
    table = Path(deciding.uri, "shortcuts.parquet").read_bytes()
    shard = next(folder.glob("controls/shards/*.parquet"))
    traced = next(folder.glob("traced/*.parquet"))
    stored = traced.read_bytes()
    shard.write_bytes(shard.read_bytes()[:-200])
    traced.unlink()
    names = damaged_shortcuts(RunFiles(deciding.uri))
    assert sorted(names) == sorted(str(path.relative_to(deciding.uri)) for path in (shard, traced))
    with pytest.raises(SystemExit):
        main(["verify", deciding.uri])
    assert "`skilljobs shortcuts`" in capsys.readouterr().out
    assert search(deciding).equals(before)
    assert traced.read_bytes() == stored
    assert Path(deciding.uri, "shortcuts.parquet").read_bytes() == table
    assert damaged_shortcuts(RunFiles(deciding.uri)) == []


def test_properties_that_are_noise_are_no_shortcuts(deciding: skilljobs.Run, tmp_path: Path) -> None:
    """Properties drawn by unit, in a model that is led by another one."""
    file = tmp_path / "noise.py"
    file.write_text(
        "from skilljobs.hashing import stable_uniform\n"
        + "".join(f"def noise{n}(e):\n    return stable_uniform({n}, e.unit) < 0.4\n" for n in range(20)),
        encoding="utf-8",
    )
    rows = search(deciding, property=[f"{file}:noise{number}" for number in range(20)])
    noise = rows.filter(pl.col("property").str.starts_with("noise"))
    assert noise["property"].n_unique() == 20
    assert not noise["verdict"].is_in(["shortcut", "undecided"]).any()


def test_a_planted_neuron_that_writes_nothing_is_a_correlate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = submit(save_planted(tmp_path / "model", writes=0.0), tmp_path / "runs", limit=150)
    rows = search(run)
    first = rows.row(0, named=True)
    assert (first["property"], first["verdict"]) == (PROPERTY, "correlate")
    assert not rows["verdict"].is_in(["shortcut"]).any()
    with pytest.raises(SystemExit) as end:
        main(["shortcuts", run.uri, "--neuron", NEURON, "--draws", "29", "--no-report"])
    assert not end.value.code
    said = capsys.readouterr().out
    assert "No property was shown to be a shortcut." in said
    assert PROPERTY in said


def test_what_cannot_be_searched_is_refused(deciding: skilljobs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    for options, reason in (
        ({"neuron": ()}, "one of --metric M and --neuron"),
        ({"neuron": "0/999"}, "has read no such neuron"),
        ({"neuron": (), "metric": "confidnce"}, "did you mean"),
        ({"population": "within:kind"}, "no population"),
        ({"property": "absent.py:f"}, "is a file that is there"),
        ({"draws": 3}, "at least 19"),
        ({"depth": 3}, "shortcuts has no option 'depth'"),
    ):
        with pytest.raises(InputError, match=reason):
            search(deciding, **options)
    with pytest.raises(SystemExit) as end:
        main(["shortcuts", deciding.uri, "--metric", "confidence", "--dry-run"])
    assert not end.value.code
    assert "tokens" in capsys.readouterr().out


@SOAK
@pytest.mark.timeout(3600)
def test_on_random_weights_nothing_is_a_shortcut(tmp_path: Path) -> None:
    """Weights as a model is initialized. With larger ones, a small model can truly be led by a word."""
    for seed in range(10):
        torch.manual_seed(seed)
        model = save(LlamaForCausalLM(llama_config(64, 128, layers=3, heads=4)), tmp_path / f"model{seed}")
        run = submit(model, tmp_path / f"runs{seed}", run_id=f"random{seed}")
        rows = search(run, neuron=(), metric="confidence", k=10, draws=199)
        assert not rows["verdict"].is_in(["shortcut"]).any(), seed
