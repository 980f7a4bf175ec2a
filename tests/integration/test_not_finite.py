"""Examples whose activations or scores are NaN: they leave every sum, by name, and too many of them stop the job."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import skilljobs
from skilljobs.errors import JobFailed
from skilljobs.progress.reporter import SilentReporter
from tests.models import POISON, save_poisoned
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


class Notes(SilentReporter):
    """Remembers everything that is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def end(self, detail: str, seconds: float) -> None:
        self.lines.append(detail)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that knows a word that makes everything after it NaN."""
    return save_poisoned(tmp_path_factory.mktemp("models") / "poisoned")


def rows_with_poison(count: int, poisoned: dict[str, list[int]]) -> list[dict[str, object]]:
    """Rows of all splits; `poisoned` says which rows of each split have the word."""
    rows: list[dict[str, object]] = []
    for number, row in enumerate(random_rows(count)):
        split = ("test", "train", "test", "validation")[number % 4]
        rows.append({**row, "split": split})
    for split, places in poisoned.items():
        members = [row for row in rows if row["split"] == split]
        for place in places:
            members[place]["text"] = f"Q{POISON} {members[place]['text']}"
    return rows


def submit(out: Path, data: Path, model: Path, notes: Notes, **spec: object) -> skilljobs.Run:
    given: dict[str, Any] = {"soft_prompt": "random", "prompt_length": 3, "by": "kind", "null": 2, "shard_size": 40}
    given |= spec
    return skilljobs.submit(out=str(out), data=str(data), model=str(model), reporter=notes, report=False, **given)


@pytest.mark.parametrize("first_batch", [False, True])
def test_they_leave_every_sum_by_name(tmp_path: Path, poisoned: Path, first_batch: bool) -> None:
    rows = rows_with_poison(400, {"test": [3, 77, 140]})
    bad = {str(row["example_id"]) for row in rows if POISON in str(row["text"])}
    small: dict[str, Any] = {"batch_tokens": 60} if first_batch else {}
    notes = Notes()
    run = submit(
        tmp_path / "all", write_jsonl(tmp_path / "all.jsonl", rows), poisoned, notes, max_bad_rows=0.02, **small
    )
    without = submit(
        tmp_path / "rest",
        write_jsonl(tmp_path / "rest.jsonl", (row for row in rows if row["example_id"] not in bad)),
        poisoned,
        Notes(),
        **small,
    )
    assert {example.example_id for example in run.record.set_aside} == bad
    assert all(example.layer == 0 for example in run.record.set_aside)
    assert any("3 set aside as not finite" in line for line in notes.lines)
    keys = ["metric", "population", "layer", "neuron"]
    real = ~pl.col("metric").str.starts_with("null")
    both = run.correlations().filter(real).join(without.correlations().filter(real), on=keys).collect()
    assert both.filter(population="all")["r"].null_count() == 0
    assert (both["r"].is_null() == both["r_right"].is_null()).all()  # the indicator of a group, within that group
    both = both.drop_nulls("r")
    assert (both["n"] == both["n_right"]).all()
    np.testing.assert_allclose(both["r"], both["r_right"], atol=1e-5)
    scores = run.scores().collect()
    assert scores.height == 200 - 3
    assert not scores["confidence"].is_nan().any()
    traced = run.activations().collect()
    assert traced["activation"].is_finite().all()
    assert not set(traced["example_id"]) & bad


def test_too_many_stop_the_job_and_the_first_is_named(tmp_path: Path, poisoned: Path) -> None:
    rows = rows_with_poison(400, {"test": list(range(40))})
    data = write_jsonl(tmp_path / "table.jsonl", rows)
    with pytest.raises(
        JobFailed, match=r"of 200 examples, \d+ set aside as not finite \(row-\d+: its activations in layer 0"
    ):
        submit(tmp_path, data, poisoned, Notes())
    allowed = submit(tmp_path, data, poisoned, Notes(), max_bad_rows=0.5)
    assert len(allowed.record.set_aside) == 40


def test_tuning_goes_on_without_them_and_says_so(tmp_path: Path, poisoned: Path) -> None:
    rows = rows_with_poison(400, {"train": [0, 1, 2], "validation": [5, 6]})
    notes = Notes()
    run = submit(
        tmp_path, write_jsonl(tmp_path / "table.jsonl", rows), poisoned, notes, soft_prompt=None, tune_steps=50
    )
    curve = run.tuning().collect()
    assert curve["loss"].is_finite().all()
    validation = curve.filter(pl.col("split") == "validation").sort("step")
    assert validation["loss"][-1] < validation["loss"][0]
    assert torch.isfinite(run.soft_prompt()).all()
    left_out = [row["example_id"] for row in rows if POISON in str(row["text"])]
    said = " ".join(notes.lines)
    assert all(str(example_id) in said for example_id in left_out[-2:])
    assert "left out as not finite" in said


def test_a_model_that_is_nan_throughout_is_not_tuned(tmp_path: Path, poisoned: Path) -> None:
    rows = rows_with_poison(200, {"validation": list(range(50))})
    with pytest.raises(JobFailed, match="no validation example has a finite loss"):
        submit(tmp_path, write_jsonl(tmp_path / "table.jsonl", rows), poisoned, Notes(), soft_prompt=None)
