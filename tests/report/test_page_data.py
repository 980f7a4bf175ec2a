"""The page stays small whatever is in the run, and what has no room is named."""

import json
from pathlib import Path

import altair as alt
import pytest

import skilljobs
from skilljobs.report import page, page_data
from skilljobs.report.charts import Figure
from skilljobs.report.page import LARGEST_PAGE, write_report
from skilljobs.report.page_cards import page_cards
from skilljobs.report.page_data import PageData, rounded
from skilljobs.report.safe_json import safe_json
from skilljobs.stats.layout import ALL

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def test_nothing_in_json_ends_its_element_and_it_reads_back() -> None:
    text = {"</script><!--\u2028\u2029&": ["\x00\x1b", 'a "quoted" \\u003c']}
    written = safe_json(text)
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == text
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(float("nan"))
    assert rounded(float("inf"), 3) is None


def test_the_bins_hold_every_neuron_once(run: skilljobs.Run) -> None:
    data = PageData(run)
    for metric in data.metrics:
        rows = run.correlations().filter(metric=metric, population=ALL).collect()
        table = data.tables[metric, ALL]
        assert sum(bin_.neurons for bin_ in table.bins) == table.neurons == rows["r"].count()
        for bin_ in table.bins:
            inside = rows.filter((rows["r"] >= bin_.low) & (rows["r"] < bin_.high)).height
            assert inside == bin_.neurons
        for layer in table.layers:
            strength = rows.filter(layer=layer.layer)["r"].abs()
            assert (layer.median, layer.largest) == (strength.median(), strength.max())
            strongest = rows.filter(layer=layer.layer, neuron=layer.neuron["neuron"])
            assert strongest["r"].abs().item() == layer.largest


def test_what_has_no_room_is_left_out_and_named(run: skilljobs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PageData(run)
    every = page_cards(data, LARGEST_PAGE)
    few = page_cards(data, 20_000)
    assert 0 < len(few) < len(every)
    assert {card.id for card in few} < {card.id for card in every}
    small, large = (alt.Chart(alt.Data(values=[{"x": x} for x in range(n)])).mark_point() for n in (1, 99))
    monkeypatch.setattr(page, "FIGURES_BYTES", 600)
    kept, missing = page._fitting([Figure("first", small, ""), Figure("large", large, ""), Figure("last", small, "")])
    assert ([figure.name for figure in kept], missing) == (["first", "last"], ["large"])
    monkeypatch.setattr(page_data, "LAYERS_BYTES", 1)
    narrow = PageData(run)
    assert narrow.populations == [ALL]
    assert narrow.left_out == len(run.layout().reported_populations) - 1
    monkeypatch.setattr(page_data, "DENSITIES_BYTES", 1)
    assert PageData(run)._densities() == [[] for _ in data.metrics]


def test_a_page_is_written_under_its_size(run: skilljobs.Run) -> None:
    write_report(run)
    assert (Path(run.uri) / "report.html").stat().st_size < 2_000_000
