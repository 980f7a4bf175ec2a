"""A job's progress in a notebook, run by a real kernel."""

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from skilljobs.progress.notebook import NotebookReporter, is_notebook

CELL = """
from skilljobs.progress.notebook import suitable_reporter
reporter = suitable_reporter()
reporter.note("columns: <b>")
for stage in ("load", "collect"):
    reporter.begin(stage, 4)
    for step in range(1, 5):
        reporter.advance(step, "of the work")
    {middle}
    reporter.end("done", 0.5)
"""


def run(cell: str) -> list[Any]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    return list(notebook.cells[0].outputs)


@pytest.mark.slow
def test_a_cell_has_one_display_that_changes() -> None:
    (shown,) = run(CELL.format(middle=""))
    assert shown.output_type == "display_data"
    assert shown.data["text/plain"] == "columns: <b>\nload: done (0.5 s)\ncollect: done (0.5 s)"
    assert "columns: &lt;b&gt;" in shown.data["text/html"]
    assert "<progress" not in shown.data["text/html"]
    shown, error = run(CELL.format(middle="reporter._show(); 1 / 0"))
    assert error.ename == "ZeroDivisionError"
    assert "load: 4 of 4, of the work" in shown.data["text/plain"]
    assert "<progress value='4' max='4'" in shown.data["text/html"]


def test_a_plain_process_is_no_notebook() -> None:
    assert not is_notebook()
    assert repr(NotebookReporter()) == ""
