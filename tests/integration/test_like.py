"""Adding metrics to a finished run: as if they had been there from the start."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import skilljobs
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.errors import InputError, JobFailed
from skilljobs.plan.added_metrics import plan_added_metrics
from skilljobs.plan.like_run import spec_like
from skilljobs.plan.work import LikeWork
from skilljobs.progress.reporter import SilentReporter
from skilljobs.reduce.shard_sums import read_shard
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import Layout
from skilljobs.stats.sums import ShardSums
from skilljobs.store.files import Folder
from skilljobs.store.run import RunFiles
from skilljobs.store.shards import scores_name
from skilljobs.store.verification import damaged_files
from skilljobs.worker.taken_over import take_over
from tests.integration.test_not_finite import rows_with_poison
from tests.models import save_poisoned
from tests.tables import write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
NEW = ("depth", "seen", "topic", "rare", "flat")
ROUNDING: dict[str, Any] = {"rel_tol": 1e-9, "abs_tol": 1e-12}
"""The number of columns in a product of matrices decides its last bits."""
KEYS = ["layer", "neuron", "metric", "population"]


def submit(out: Path, **spec: Any) -> skilljobs.Run:
    return skilljobs.submit(out=str(out), reporter=SilentReporter(), report=False, **spec)


def new_values(number: int) -> dict[str, object]:
    """A number, a bool that some rows lack, a category, a metric that is skewed, and a constant."""
    seen = None if number % 5 == 0 else number % 3 == 0
    return {
        "depth": (number * 37) % 101 / 7,
        "seen": seen,
        "topic": "xyz"[number % 3],
        "rare": number % 29 == 0,
        "flat": 2,
    }


class Made:
    """A finished run with a tuned prompt and one example that is set aside, and its data with the new metrics."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = save_poisoned(folder / "model")
        rows = rows_with_poison(320, {"test": [3]})
        self.data = write_jsonl(folder / "old.jsonl", rows)
        self.whole_data = write_jsonl(folder / "whole.jsonl", [row | new_values(n) for n, row in enumerate(rows)])
        new = [{"example_id": row["example_id"]} | new_values(n) for n, row in enumerate(rows)]
        self.new = new
        self.file = write_jsonl(folder / "new.jsonl", new)
        self.common: dict[str, Any] = {"model": str(self.model), "prompt_length": 3, "by": "kind", "null": 2,
                       "shard_size": 40, "max_bad_rows": 0.05, "statistic": "predictivity"}  # fmt: skip
        self.run = submit(folder, run_id="old", data=str(self.data), tune_steps=2, **self.common)

    def plan(self, rows: Iterable[dict[str, object]], name: str = "other.jsonl") -> Any:
        file = write_jsonl(self.folder / name, rows)
        return plan_added_metrics(spec_like(JobSpec(like=self.run.uri, metrics_from=str(file))))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_here: object) -> Made:
    return Made(tmp_path_factory.mktemp("like"))


def shown(run: skilljobs.Run) -> pl.DataFrame:
    return run.correlations().sort(*KEYS).collect()


def test_it_is_as_if_they_had_been_there_from_the_start(made: Made, tmp_path: Path) -> None:
    old_uri = tmp_path / "old"
    shutil.copytree(made.run.uri, old_uri)
    added = submit(tmp_path, like="old", metrics_from=str(made.file), run_id="added")
    whole = submit(tmp_path, data=str(made.whole_data), soft_prompt=made.run.uri, run_id="whole", **made.common)
    before = shown(made.run)
    now, expected = shown(added), shown(whole)
    names = before["metric"].unique().to_list()
    assert_frame_equal(now.filter(pl.col("metric").is_in(names)), before, check_exact=True)
    assert_frame_equal(now, expected, **ROUNDING)
    assert {"depth", "seen", "topic=x", "rare", "flat"} <= set(now["metric"]) - set(names)
    assert now.filter(metric="flat")["r"].is_null().all()
    assert len(added.record.set_aside) == 1
    assert added.record.accuracy == made.run.record.accuracy
    assert added.tuning().collect().equals(made.run.tuning().collect())

    assert "null:skewed:0" not in [metric.name for metric in made.run.layout().metrics]
    assert "null:skewed:0" in [metric.name for metric in added.layout().metrics]
    chosen: list[tuple[str, list[str]]] = [("depth", ["words", "confidence"]), ("words", ["depth", "topic"])]
    for metric, given in (*chosen, ("seen", []), ("rare", [])):
        for population in ("all", "within:kind"):
            of_metric: dict[str, Any] = {"metric": metric, "population": population, "given": given, "k": 48}
            found, right = (run.top(**of_metric).sort(KEYS) for run in (added, whole))
            assert_frame_equal(found, right, **ROUNDING)
            chance = [NullThresholds(run).of(metric, population, given) for run in (added, whole)]
            assert isinstance(chance[0], NullThreshold)
            assert isinstance(chance[1], NullThreshold)
            assert chance[0].r == pytest.approx(chance[1].r, rel=1e-9)
    assert NullThresholds(added).of("words") == NullThresholds(made.run).of("words")
    assert len(added.top("rare", sort="predictivity")) > 0

    shutil.rmtree(old_uri)
    again = skilljobs.open_run(added.uri)
    assert damaged_files(RunFiles(added.uri), thorough=True) == []
    assert len(again.top("depth", given=["words"], k=3)) == 3
    assert again.status == "complete"
    with pytest.raises(InputError, match="there is no run at"):
        submit(tmp_path, like=str(old_uri), metrics_from=str(made.file), run_id="added")


def test_it_resumes_and_refuses_another_file(made: Made, tmp_path: Path) -> None:
    added = submit(tmp_path, like=made.run.uri, metrics_from=str(made.file))
    expected = shown(added)
    folder = Folder(added.uri)
    folder.delete(scores_name(1))
    record = added.record
    early = {name: stage for name, stage in record.stages.items() if name in ("prepare", "tune", "reference")}
    RunFiles(added.uri).save(record.model_copy(update={"stages": early}))
    assert_frame_equal(
        shown(submit(tmp_path, like=made.run.uri, metrics_from=str(made.file))), expected, check_exact=True
    )
    other = write_jsonl(tmp_path / "new.jsonl", [row | {"flat": 3} for row in made.new])
    with pytest.raises(InputError, match="was begun with metrics_from"):
        submit(tmp_path, like=made.run.uri, metrics_from=str(other), run_id=record.run_id)
    chained = write_jsonl(
        tmp_path / "more.jsonl", [{"example_id": row["example_id"], "more": n} for n, row in enumerate(made.new)]
    )
    more = shown(submit(tmp_path, like=added.uri, metrics_from=str(chained)))
    assert_frame_equal(more.filter(pl.col("metric") != "more"), expected, check_exact=True)


def test_what_does_not_fit_the_run_is_refused(made: Made) -> None:
    rows = made.new
    with pytest.raises(InputError, match=r"row 3 has the example_id 'row-0' of row 1"):
        made.plan([*rows[:2], rows[0]])
    with pytest.raises(InputError, match=r"1 row of it \('row-999' the first\) are of no example"):
        made.plan([*rows, {"example_id": "row-999", "depth": 1.0}])
    with pytest.raises(
        InputError, match="none of its 2 rows is of a test example of the run, whose ids are like 'row-"
    ):
        made.plan([{"example_id": n, "depth": n} for n in range(2)])
    with pytest.raises(InputError, match="row 1 has no example_id"):
        made.plan([{"id": "row-0", "depth": 1.0}])
    with pytest.raises(InputError, match="has no column beside example_id"):
        made.plan([{"example_id": row["example_id"]} for row in rows])
    for column in ("words", "text", "kind", "half", "confidence", "null:0"):
        with pytest.raises(InputError, match=f"the run has {column} already"):
            made.plan([row | {column: 1} for row in rows])
    with pytest.raises(InputError, match="'entropy' has the name of one of skilljobs' own metrics"):
        made.plan([row | {"entropy": 1} for row in rows])
    with pytest.raises(InputError, match="the run has a metric 'kind=a' already: rename 'kind=a'"):
        made.plan([row | {"kind=a": 1} for row in rows])
    with pytest.raises(InputError, match="row 2 is bad: `depth` is 'x', and most rows have numbers there"):
        made.plan([row | {"depth": "x"} if n == 1 else row for n, row in enumerate(rows)])
    with pytest.raises(InputError, match="row 1 is bad: `depth` is inf"):
        made.plan([row | {"depth": float("inf")} for row in rows])
    with pytest.raises(InputError, match=r"no column makes a metric \(title: constant\)"):
        made.plan([{"example_id": row["example_id"], "title": "same"} for row in rows])
    with pytest.raises(InputError, match="--limit cannot be given with --like"):
        spec_like(JobSpec(like=made.run.uri, metrics_from="x", limit=5))
    with pytest.raises(InputError, match="go together"):
        JobSpec(like=made.run.uri)


def test_rows_that_the_file_lacks_are_null_and_counted(made: Made) -> None:
    tested = {example.example_id for example in made.plan(made.new).test}
    left_out = [row for row in made.new if row["example_id"] in tested][:3]
    plan = made.plan(
        [
            row | {"depth": float("nan") if n == 7 else row["depth"]}
            for n, row in enumerate(made.new)
            if row not in left_out
        ]
    )
    assert f"no row for 3 of {len(tested)} test examples" in plan.like.notes[0]
    assert {metric.name: metric.nullable for metric in plan.layout.metrics}["depth"]
    assert plan.columns.nullable >= {"depth", "seen"}
    assert "topic (3)" in plan.like.new_columns.line


def test_a_run_that_cannot_be_read_again_is_refused(made: Made, tmp_path: Path) -> None:
    def plan(uri: Path) -> None:
        plan_added_metrics(spec_like(JobSpec(like=str(uri), metrics_from=str(made.file))))

    run = tmp_path / "run"
    shutil.copytree(made.run.uri, run)
    record = RunFiles(str(run)).record

    def change(**changes: Any) -> None:
        RunFiles(str(run)).save(record.model_copy(update=changes))

    change(spec=record.spec | {"prompts": 2})
    with pytest.raises(InputError, match=r"it has 2 soft prompts: name one of them, .*prompts/0"):
        plan(run)
    change(stages={})
    with pytest.raises(InputError, match="it is not finished"):
        plan(run)
    change(bit_exact=False)
    with pytest.raises(InputError, match="split for want of memory"):
        plan(run)
    fields = record.fingerprint.fields
    for changed, reason in (
        ({"version.torch": "2.0.0"}, "was made with torch 2.0.0"),
        ({"model_digest": "0"}, "is not the one that the run"),
    ):
        change(fingerprint=record.fingerprint.model_copy(update={"fields": fields | changed}))
        with pytest.raises(InputError, match=reason):
            plan(run)
    change()
    plan(run)
    examples = run / "examples" / "part-00001.parquet"
    examples.write_bytes(examples.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"examples/part-00001.parquet is not as it was written"):
        plan(run)
    (run / scores_name(1)).unlink()
    with pytest.raises(InputError, match="shards are there, and all are needed"):
        plan(run)


def test_sums_of_other_activations_or_metrics_are_not_taken_over(made: Made) -> None:
    run = RunFiles(made.run.uri)
    layout, like = made.run.layout(), LikeWork(run.uri, run.record.fingerprint.digest, made.run.layout())
    sums = stored_sums(run, layout)
    same = take_over(sums, layout, like, 1)
    assert all((a == b).all() for a, b in zip(same.linear, sums.linear, strict=True))
    words = [metric.name for metric in layout.metrics].index("words")
    for name in ("linear", "square", "moment_sum", "moment_product"):
        changed = stored_sums(run, layout)
        array = getattr(changed, name)[0]
        where = (0, 1) if name == "linear" else (0, 0) if name == "square" else (words, words)
        array[where] *= 1 + 1e-6
        with pytest.raises(
            JobFailed, match=r"are not what they were in .*: new sums would not be of the same activations"
        ):
            take_over(changed, layout, like, 1)
    with pytest.raises(JobFailed, match=r"shard 1 of .* is damaged or gone"):
        take_over(sums, layout, replace(like, fingerprint="other"), 1)


def stored_sums(run: RunFiles, layout: Layout) -> ShardSums:
    """The sums of shard 1, as a scorer has them before they are written."""
    moments, layers = read_shard(run.folder, 1, len(run.record.neurons), layout)
    shape = (len(layout.populations), len(layout.metrics), len(layout.metrics))
    count, (total, square, product) = np.zeros(shape, np.int64), np.zeros((3, *shape))
    metrics = [metric.name for metric in layout.metrics]
    for (population, first, second), row in moments.index.items():
        k, a, b = layout.populations.index(population), metrics.index(first), metrics.index(second)
        sum_a, sum_b, sum_ab, sum_aa, sum_bb = moments.sums[:, row]
        count[k, a, b] = count[k, b, a] = moments.n[row]
        total[k, a, b], total[k, b, a], square[k, a, b], square[k, b, a] = sum_a, sum_b, sum_aa, sum_bb
        product[k, a, b] = product[k, b, a] = sum_ab
    nullable = [metrics[place] for place in layout.nullable]
    linear, squares = [], []
    for layer in layers:
        populations = len(layout.populations)
        of = {name: np.pad(column, ((0, populations - len(column)), (0, 0))) for name, column in layer.columns.items()}
        linear.append(
            np.stack([of["sum_a"], *(of[f"sum_ay:{m}"] for m in metrics), *(of[f"sum_a:{m}"] for m in nullable)], 1)
        )
        squares.append(np.stack([of["sum_aa"], *(of[f"sum_aa:{m}"] for m in nullable)], 1))
    return ShardSums(linear, squares, count[:, 0, 0].copy(), count, total, square, product)
