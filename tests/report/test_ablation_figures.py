"""Figures of ablations hold every group once and no text that steers a page."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from skilljobs.report.ablation_figures import dose_response, specificity_matrix
from skilljobs.report.charts import LONGEST_LABEL, Figure, labels, save_figure
from skilljobs.store.files import Folder

HOSTILE = "</script><script>alert(1)</script>\x1b[2J"


def rows(metrics: list[str], groups: list[str], sizes: tuple[int, ...] = (1, 10)) -> pl.DataFrame:
    table: list[dict[str, Any]] = []
    for metric in metrics:
        for group in groups:
            for k in sizes:
                for draw in (None, 0, 1):
                    effect = 0.1 * k + (draw or 0)
                    table.append(
                        {
                            "ablation": "a", "prompt": None, "metric": metric, "population": "all", "how": "mean",
                            "at": "prompt", "set": "top" if draw is None else "random", "k": k, "draw": draw,
                            "group": group, "n": 9, "outcome": "margin", "delta_margin": effect,
                            "delta_accuracy": 0.0, "accuracy": 1.0, "ci_low": effect - 1, "ci_high": effect + 1,
                            "p": 0.04 if draw is None else None, "controls": 2, "seen_half1": False,
                        }
                    )  # fmt: skip
    return pl.DataFrame(table, schema_overrides={"prompt": pl.Int16})


def test_names_are_cut_and_stay_apart() -> None:
    long = "x" * 100
    found = labels([long + "1", long + "2", HOSTILE])
    assert len(set(found.values())) == 3
    assert all(len(shown) <= LONGEST_LABEL + 4 for shown in found.values())
    assert "\x1b" not in "".join(found.values())


@pytest.mark.parametrize("sizes", [(1, 10), (7,)])
def test_dose_and_response_has_a_panel_for_each_group(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    groups = ["all", HOSTILE, "x" * 60 + "1", "x" * 60 + "2"]
    save_figure(Figure("dose", dose_response(rows(["m"], groups, sizes)), ""), Folder(str(tmp_path)))
    svg = (tmp_path / "figures" / "dose.svg").read_text()
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert svg.count("neurons changed</text>") == 4
    assert "all examples" in svg
    assert "change of the margin" in svg
    assert (tmp_path / "figures" / "dose.png").read_bytes().startswith(b"\x89PNG")


def test_the_matrix_shows_every_pair_and_marks_what_is_beyond_the_controls(tmp_path: Path) -> None:
    levels = [f"skill={HOSTILE}", "skill=b"]
    matrix = specificity_matrix(rows(levels, ["all", *levels], (10,)), "skill")
    save_figure(Figure("matrix", matrix, ""), Folder(str(tmp_path)))
    svg = (tmp_path / "figures" / "matrix.svg").read_text()
    assert "<script" not in svg
    assert svg.count("+1.00*") >= 4
