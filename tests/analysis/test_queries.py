"""Queries of a finished run."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from rich.console import Console

import skilljobs
from skilljobs.analysis.comparing import compare
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.analysis.watching import Watcher
from skilljobs.cli.main import cli
from skilljobs.cli.tables import neuron_table
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.fixture(scope="module")
def run(ray_here: object, tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> skilljobs.Run:
    folder = tmp_path_factory.mktemp("queries")
    rows = [row | {"rare": number % 25 == 0} for number, row in enumerate(random_rows(300))]
    data = write_jsonl(folder / "table.jsonl", rows)
    return skilljobs.submit(data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=3, by="kind",
                            null=19, keep_null=True, out=str(folder), shard_size=30, reporter=SilentReporter(),
                            report=False)  # fmt: skip


def test_watched_correlations_narrow_to_the_final_ones(run: skilljobs.Run) -> None:
    metrics = ["words", "level", "confidence"]
    watcher = Watcher(run, metrics, k=3)
    every = run.committed_numbers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watcher.run, "committed_numbers", lambda: every[:2])
        early = watcher.update()
        patch.setattr(watcher.run, "committed_numbers", lambda: every)
        late = watcher.update()
    assert (early.shards, early.examples) == (2, sum(run.record.shards[:2]))
    assert (late.shards, late.examples) == (late.total_shards, late.total_examples)
    assert early.top is not None
    assert late.top is not None
    for metric in metrics:
        watched, expected = late.top.filter(metric=metric), run.top(metric, k=3)
        assert watched.select("layer", "neuron", "n").equals(expected.select("layer", "neuron", "n"))
        np.testing.assert_allclose(watched["r"], expected["r"], rtol=1e-12)
        width = [(frame["ci_high"] - frame["ci_low"]).mean() for frame in (early.top.filter(metric=metric), watched)]
        assert width[1] < width[0]  # type: ignore[operator]
    with pytest.raises(InputError, match="no metric 'nope'"):
        Watcher(run, ["nope"], 1).update()


def test_watch_ends_when_all_shards_are_committed(run: skilljobs.Run) -> None:
    result = CliRunner().invoke(cli, ["watch", run.uri, "--metric", "words", "-k", "2"], catch_exceptions=False)
    shards = len(run.record.shards)
    assert f"{shards} of {shards} shards" in result.output
    assert result.output.count("words") == 2


@pytest.mark.parametrize("population", ["all", "kind=b", "within:kind"])
def test_top_is_the_largest_of_the_correlations(run: skilljobs.Run, population: str) -> None:
    top = run.top("words", k=7, population=population)
    rows = run.correlations().filter(pl.col("metric") == "words", pl.col("population") == population).collect()
    expected = rows.sort(pl.col("r").abs(), descending=True).head(7)
    assert top.columns == expected.columns
    assert top["r"].to_list() == expected["r"].to_list()
    q = rows.sort("p")["p"].to_numpy() * len(rows) / np.arange(1, len(rows) + 1)
    q = np.minimum(1, np.minimum.accumulate(q[::-1])[::-1])
    np.testing.assert_allclose(rows.sort("p")["q"], q, rtol=1e-12)


def test_per_layer_and_beyond_the_kept_rows(run: skilljobs.Run) -> None:
    per_layer = run.top("words", k=2, per_layer=True)
    assert per_layer["layer"].to_list() == [0, 0, 1, 1]
    assert len(run.top("words", k=5000)) == 48


@pytest.mark.parametrize(("metric", "family"), [("words", "null:"), ("confidence", "null:"), ("rare", "null:skewed:")])
def test_the_null_threshold_is_taken_over_the_whole_model(run: skilljobs.Run, metric: str, family: str) -> None:
    nulls = run.correlations().filter(pl.col("metric").str.contains(f"^{family}[0-9]+$")).collect()
    assert set(nulls["population"]) == {"all"}
    maxima = nulls.group_by("metric").agg(pl.col("r").abs().max())["r"]
    assert len(maxima) == 19
    threshold = NullThresholds(run).of(metric)
    assert isinstance(threshold, NullThreshold)
    assert (threshold.draws, threshold.level, threshold.is_approximate) == (19, 0.05, False)
    assert threshold.r == pytest.approx(maxima.max())
    assert not threshold.too_low


@pytest.mark.parametrize("width", [70, 80, 120])
def test_a_table_fits_its_terminal_and_cuts_no_digit(run: skilljobs.Run, width: int) -> None:
    output = io.StringIO()
    console = Console(width=width, file=output, force_terminal=True, no_color=True)
    console.print(neuron_table(run.top("kind=a", k=3), "[/kind]=a", console))
    text = output.getvalue()
    assert "…" not in text
    assert "[/kind]=a" in text
    assert ("std" in text) == (width == 120)
    assert f"{run.top('kind=a', k=1)['r'][0]:+.3f}" in text


@pytest.mark.parametrize("population", ["all", "within:kind"])
def test_partial_correlations_need_only_the_sums(run: skilljobs.Run, population: str) -> None:
    """The partial correlation of three variables has a closed form in their three correlations."""
    plain = {name: run.top(name, k=48, population=population).sort("layer", "neuron") for name in ("words", "banana")}
    held = run.top("words", k=48, population=population, given=["banana"]).sort("layer", "neuron")
    examples = run.examples().collect()
    kind = examples["kind"].to_numpy()
    columns = {name: examples[name].cast(pl.Float64).to_numpy().copy() for name in ("words", "banana")}
    for values in columns.values():
        for group in ("a", "b") if population == "within:kind" else (None,):
            rows = kind == group if group else np.ones(len(kind), bool)
            values[rows] -= values[rows].mean()
    words, banana = columns["words"], columns["banana"]
    between = (words * banana).sum() / np.sqrt((words**2).sum() * (banana**2).sum())
    r_words, r_banana = plain["words"]["r"].to_numpy(), plain["banana"]["r"].to_numpy()
    expected = (r_words - between * r_banana) / np.sqrt((1 - between**2) * (1 - r_banana**2))
    np.testing.assert_allclose(held["r"], expected, atol=1e-9)
    assert held["q"].null_count() == 0


@pytest.mark.parametrize(
    ("metric", "given", "reason"),
    [
        ("words", ["level"], "'level' cannot be held fixed"),
        ("words", ["words"], "own correlation"),
        ("words", ["nope"], "'nope'"),
        ("null:0", ["words"], "null metrics"),
    ],
)
def test_metrics_that_cannot_be_held_fixed_are_refused(
    run: skilljobs.Run, metric: str, given: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        run.top(metric, given=given)


def test_comparing_a_run_with_itself_and_two_metrics(run: skilljobs.Run) -> None:
    same = compare(run, run, "words", "words", "all", 10)
    assert (same.overlap, same.neurons) == (10, 48)
    assert same.r_correlation == pytest.approx(1.0)
    assert same.p == pytest.approx(1 / 6540715896, rel=1e-6)  # one of the 48 choose 10 ways
    other = compare(run, run, "words", "banana", "all", 10)
    tops = [set(run.top(name, k=10).select("layer", "neuron").rows()) for name in ("words", "banana")]
    assert other.overlap == len(tops[0] & tops[1]) == len(other.shared)
    with pytest.raises(InputError, match="no metric 'nope'"):
        compare(run, run, "words", "nope", "all", 10)
