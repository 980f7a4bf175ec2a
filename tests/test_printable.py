"""Characters that would steer a terminal, or break a document, are written out."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilljobs.cli.tables import metric_rows, table_console
from skilljobs.errors import InputError
from skilljobs.printable import printable, printable_lines, well_formed
from skilljobs.progress.reporter import LineReporter
from skilljobs.report.charts import Figure, save_figure, shortened
from skilljobs.report.figures import safe_name
from skilljobs.store.files import Folder

STEERING = "kind=\x1b[31m\x00\x08\u202e\n\ud800"


def test_what_is_written_out() -> None:
    assert printable(STEERING) == r"kind=\x1b[31m\x00\x08\u202e\n\ud800"
    assert printable("Größe 5 € 漢字 (π)") == "Größe 5 € 漢字 (π)"
    assert printable_lines("a\n\x1bb") == "a\n\\x1bb"


@given(st.text(st.characters(codec="utf-8")))
def test_a_document_is_well_formed_whatever_text_it_holds(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "]]&gt;")
    ET.fromstring(well_formed(f"<a>{escaped}</a>"))
    assert printable(text).isprintable()


def test_tables_errors_and_notes_are_safe_to_show(capsys: Any) -> None:
    from skilljobs.cli.main import _exit_code

    def refuse() -> None:
        raise InputError(f"there is no column {STEERING}")

    assert _exit_code(refuse, debug=False) == 2
    LineReporter().note(f"columns: {STEERING}")
    row = {"metric": STEERING.replace("\ud800", ""), "layer": 0, "expert": None, "neuron": 1, "token": None, "n": 9}
    numbers = ("r", "ci_low", "ci_high", "p", "q", "r_half0", "r_half1", "activation_mean", "activation_std")
    table_console().print(metric_rows(pl.DataFrame([row | dict.fromkeys(numbers, 0.5)]), f"r of {STEERING}"))
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert r"kind=\x1b[31m\x00" in text
        assert all(char.isprintable() or char == "\n" for char in text)
    assert shown.err.splitlines()[0].startswith("skilljobs: there is no column kind=")


@pytest.mark.parametrize("shown", [str, shortened])
def test_a_figure_of_any_name_is_well_formed(tmp_path: Path, shown: Any) -> None:
    name = shown(STEERING.replace("\ud800", ""))
    chart = alt.Chart(alt.Data(values=[{"x": name, "y": 1, "group": name}])).mark_point()
    figure = Figure("mine", chart.encode(x="x:N", y="y:Q", color="group:N").properties(title=name), "")
    save_figure(figure, Folder(str(tmp_path)))
    texts = "".join(ET.parse(tmp_path / "figures" / "mine.svg").getroot().itertext())
    assert r"\x1b[31m\x00" in texts


def test_names_of_columns_make_different_names_of_files() -> None:
    assert safe_name("kind") == "kind"
    names = ["a b", "a-b", "a/b", "x" * 300, "x" * 301, "\x1b[31m"]
    assert len({safe_name(name) for name in names}) == len(names)
    assert all(len(safe_name(name)) < 80 for name in names)
