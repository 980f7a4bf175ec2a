"""The figure of a series: what is drawn, with which sign."""

from pathlib import Path

import polars as pl

from skilljobs.analysis.emergence import EMERGENCE
from skilljobs.report.charts import save_figure
from skilljobs.report.emergence_figure import EACH, LAST, emergence_figure, emergence_points
from skilljobs.store.files import Folder


def test_r_has_the_sign_that_half_0_gave_it(tmp_path: Path) -> None:
    """A neuron that is found with one sign and measured with the other one is below zero."""
    place = {"layer": 0, "neuron": 1}
    rows = pl.DataFrame(
        [
            {"checkpoint": "one", "r_half0": 0.5, "r_half1": -0.1, "null_half1": 0.2, "last_r_half1": 0.3, **place},
            {"checkpoint": "unfinished"},
            {"checkpoint": "other shape", "r_half0": -0.5, "r_half1": -0.4, "null_half1": None, **place},
            {"checkpoint": "last", "r_half0": -0.7, "r_half1": -0.6, "null_half1": 0.1, "last_r_half1": -0.6, **place},
        ],
        schema=EMERGENCE,
    )
    points = emergence_points(rows)
    found = {(point["model"], point["of"]): point["r"] for point in points if "r" in point}
    assert found == {
        ("one", EACH): -0.1, ("one", LAST): -0.3, ("other shape", EACH): 0.4, ("last", EACH): 0.6, ("last", LAST): 0.6,
    }  # fmt: skip
    assert [(point["model"], point["null"]) for point in points if "null" in point] == [("one", 0.2), ("last", 0.1)]
    figure = emergence_figure(rows, "a\x00metric", "all", "emergence-metric")
    save_figure(figure, Folder(str(tmp_path)))
    svg = (tmp_path / "figures" / "emergence-metric.svg").read_text()
    assert "other shape" in svg
    assert "unfinished" in svg, "a model keeps its place"
