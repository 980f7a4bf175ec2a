"""Exporting neurons of a finished run: as a table, or as a program that reads them without skilljobs."""

from skilljobs.errors import InputError
from skilljobs.export.exported_neurons import exported_neurons
from skilljobs.export.snippet_text import LIBRARIES, refuse_run, snippet
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.suggestions import did_you_mean

CSV = "csv"
FORMATS = (*LIBRARIES, CSV)


def export(run: RunReader, metric: str, population: str = ALL, k: int = 50, form: str = "hooks") -> str:
    """The text of a Python program or of a CSV table (see `exported_neurons`), as `form` says.

    Raises:
        InputError: there is no such format, or the run has no such metric or population, or cannot be exported so.
    """
    if form not in FORMATS:
        raise InputError(f"there is no format {form!r}{did_you_mean(form, FORMATS)}; it may be {', '.join(FORMATS)}")
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}; it is how many neurons to export, at least 1")
    if form != CSV:
        refuse_run(form, run.record, run.folder)
        run.require("activations")
    neurons = exported_neurons(run, metric, population, k)
    return neurons.rows.write_csv() if form == CSV else snippet(form, run.record, run.folder, neurons)
