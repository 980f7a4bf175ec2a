"""Traced activations, figures, cards and the report page of a finished run, with hostile text in its data."""

import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import skilljobs
from skilljobs.analysis.distributions import Group, Traces, density
from skilljobs.analysis.neuron_card import Cards
from skilljobs.analysis.overlap import correlations_given_others, level_metrics, overlap
from skilljobs.analysis.run_tables import accuracy_by_group, metric_table
from skilljobs.cli.main import cli
from skilljobs.errors import InputError
from skilljobs.report import figures
from skilljobs.report.charts import shortened
from skilljobs.report.correlation_figures import top_threshold
from skilljobs.report.figures import draw_figures
from skilljobs.report.refresh import refresh_report
from skilljobs.stats.neurons import NeuronName
from tests.report.conftest import BAD_COLUMN, BAD_KIND, HOSTILE

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def test_r_of_the_traced_activations_is_that_of_half_1(run: skilljobs.Run) -> None:
    traces = Traces(run)
    assert set(traces.examples["half"]) == {1}
    for metric in ("words", "level", "kind=plain $x$", BAD_COLUMN, "confidence", "correct"):
        values = traces.values(metric)
        for row in run.top(metric, k=10).iter_rows(named=True):
            activations = traces.activations(row)
            assert activations is not None
            present = ~np.isnan(values)
            r = np.corrcoef(activations[present], values[present])[0, 1]
            assert r == pytest.approx(row["r_half1"], abs=1e-5)


def test_groups_are_the_values_of_a_metric_or_its_thirds(run: skilljobs.Run) -> None:
    traces = Traces(run)
    activations = np.arange(len(traces.examples), dtype=float)
    words = traces.values("words")
    low, middle, high = (set(group.activations) for group in traces.by_metric("words", activations))
    assert low | middle | high == set(activations)
    assert max(words[[int(i) for i in low]]) < min(words[[int(i) for i in middle]]) < min(words[[int(i) for i in high]])
    no, yes = traces.by_metric(BAD_COLUMN, activations)
    assert (no.label, yes.label) == ("no", "yes")
    assert len(yes.activations) == traces.examples[BAD_COLUMN].sum()
    assert [group.label for group in traces.by_column("kind", activations)] == [BAD_KIND, "plain $x$"]


def test_a_density_integrates_to_one_and_a_constant_has_none() -> None:
    rng = np.random.default_rng(0)
    grid, (wide, constant) = density([Group("a", rng.normal(size=500)), Group("b", np.zeros(9))])
    assert constant is None
    assert wide is not None
    assert np.trapezoid(wide, grid) == pytest.approx(1, abs=0.03)


def test_the_tables_of_the_page(run: skilljobs.Run) -> None:
    scores = run.scores().join(run.examples(), on="example_id").collect()
    by_group = accuracy_by_group(run)
    assert by_group["population"].to_list() == ["all", f"kind={BAD_KIND}", "kind=plain $x$"]
    assert by_group["accuracy"][0] == pytest.approx(scores["correct"].mean())
    assert by_group["confidence"][2] == pytest.approx(scores.filter(kind="plain $x$")["confidence"].mean())
    words_rows = run.correlations().filter(metric="words", population="all").collect()
    (row,) = metric_table(run, ["words"]).rows(named=True)
    strength = words_rows["r"].abs().sort(descending=True)
    assert row["top10"] == strength[9] == top_threshold(run, "words")
    assert row["above_null"] == (strength > row["null"]).sum()
    strongest = words_rows.sort(pl.col("r_half0").abs(), descending=True).head(10)
    assert row["on_half1"] == pytest.approx((strongest["r_half1"] * strongest["r_half0"].sign()).mean())


def test_overlap_and_r_given_the_others(run: skilljobs.Run) -> None:
    matrix = overlap(run, ["words", "level", "confidence"], k=10)
    counts = matrix.drop("metric").to_numpy()
    assert (np.diag(counts) == 10).all()
    assert (counts == counts.T).all()
    shared = set(run.top("words", k=10).select("layer", "neuron").rows())
    shared &= set(run.top("level", k=10).select("layer", "neuron").rows())
    assert counts[0, 1] == len(shared)
    given_others = correlations_given_others(run, ["words", "confidence"], k=3)
    given = run.top("words", k=48, given=["confidence"])
    for row in given_others.filter(metric="words").iter_rows(named=True):
        expected = given.filter(layer=row["layer"], neuron=row["neuron"])
        assert row["r_given_others"] == pytest.approx(expected["r"].item())
    assert correlations_given_others(run, ["words", "level"], k=2)["r_given_others"].null_count() == 4
    assert correlations_given_others(run, level_metrics(run, "kind"), k=2)["r_given_others"].null_count() == 4
    assert level_metrics(run, "kind") == [f"kind={BAD_KIND}", "kind=plain $x$"]
    with pytest.raises(InputError, match=r"no category or set of skills 'words' \(metrics words=\.\.\.\); it has kind"):
        level_metrics(run, "words")


def test_the_null_threshold_is_scaled_for_metrics_of_fewer_examples(run: skilljobs.Run) -> None:
    table = {row["metric"]: row for row in metric_table(run).rows(named=True)}
    n = {metric: run.top(metric, k=1)["n"].item() for metric in ("level", "words")}
    assert n["level"] < n["words"]
    assert table["level"]["null_approximate"]
    assert not table["words"]["null_approximate"]
    assert table["level"]["null"] == pytest.approx(
        table["words"]["null"] * np.sqrt((n["words"] - 2) / (n["level"] - 2))
    )


def test_names_are_cut_so_that_they_can_be_told_apart() -> None:
    assert shortened("short") == "short"
    cut = {shortened(f"a_rather_long_name_of_a_metric_that_ends_in_{ending}", 30) for ending in ("a", "b")}
    assert len(cut) == 2
    assert max(map(len, cut)) <= 30


def test_a_card_has_the_texts_of_the_extremes(run: skilljobs.Run) -> None:
    (top,) = run.top("words", k=1).rows(named=True)
    name = NeuronName(top["layer"], None, top["neuron"])
    card = Cards(run, [name]).card(name)
    activations = run.activations().filter(layer=top["layer"], neuron=top["neuron"]).collect()["activation"]
    assert (card.highest[0].activation, card.lowest[0].activation) == (activations.max(), activations.min())
    assert card.highest[0].text.startswith(HOSTILE)
    assert card.correlations.filter(metric="words")["r"].item() == top["r"]
    assert not card.correlations["metric"].str.starts_with("null").any()
    assert len(card.promoted) == len(card.suppressed) == 20
    assert card.promoted[0][1] > card.promoted[-1][1] > 0 > card.suppressed[-1][1] > card.suppressed[0][1]


def test_the_page_is_written_whether_or_not_figures_can_be_drawn(
    run: skilljobs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(run.uri) / "report.html"
    for function in ("save_figure", "by_layer"):

        def fails(*args: object, **options: object) -> None:
            raise OSError("no room")

        page.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(figures, function, fails)
            with pytest.raises(OSError, match="no room"):
                refresh_report(run)
        assert page.is_file()


def test_charts_hold_when_each_part_of_them_is_checked(run: skilljobs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "unvalidated", nullcontext)
    draw_figures(run)


def test_every_figure_is_saved_in_both_formats_with_labels_and_n(run: skilljobs.Run) -> None:
    draw_figures(run)
    folder = Path(run.uri) / "figures"
    names = {path.stem for path in folder.glob("*.svg")}
    assert names == {path.stem for path in folder.glob("*.png")}
    assert names == {"histogram", "layers", "heatmap", "density", "by-kind", "within-kind"}
    drawn = {name: (folder / f"{name}.svg").read_text(encoding="utf-8") for name in names}
    assert "correlation r" in drawn["histogram"]
    assert "top 10: |r| = " in drawn["histogram"]
    assert "null: |r| = " in drawn["histogram"]
    examples = sum(run.record.shards)
    assert f"n = {examples} examples" in drawn["histogram"]
    for name in ("density", "by-kind", "within-kind"):
        assert "activation" in drawn[name]
        assert re.search(r"\(n=\d+\)", drawn[name])


def test_the_page_needs_no_network_and_escapes_text_from_the_data(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for hostile in (HOSTILE, BAD_KIND, BAD_COLUMN, "\u2028"):
        assert hostile not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert "\\u003c/script\\u003e\\u003cscript\\u003ewindow.taken = true" in text
    assert "&lt;img src=x onerror" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", text.split("<script", 1)[0])
    assert "default-src &#39;none&#39;" in text


def test_the_commands(run: skilljobs.Run) -> None:
    def output(*arguments: str) -> str:
        result = CliRunner().invoke(cli, [*arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    (top,) = run.top("words", k=1).rows(named=True)
    card = output("neuron", run.uri, f"{top['layer']}/{top['neuron']}")
    assert f"layer {top['layer']} neuron {top['neuron']}" in card
    assert f"{top['r']:+.3f}" in card
    assert "█" in card
    assert "promotes" in card
    matrix = output("compare", run.uri, "--metric", "kind", "-k", "10")
    assert "neurons in the top 10 of both" in matrix
    assert "they are levels of one category" in matrix
    with pytest.raises(InputError, match="'null:0' is a null metric"):
        output("plot", run.uri, "--metric", "null:0")
    assert output("plot", run.uri, "--metric", "words", "--metric", "words").splitlines()[-1].endswith("figures")
    with pytest.raises(InputError, match="no neuron 9/1: the run read layers 0 to 1"):
        output("neuron", run.uri, "9/1")
    with pytest.raises(InputError, match="'3' is not a neuron"):
        output("neuron", run.uri, "3")
