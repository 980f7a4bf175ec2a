"""Everything that a run has to look at: its page, and its figures as files."""

from skilljobs.report.figures import draw_figures
from skilljobs.report.page import write_report
from skilljobs.store.reader import RunReader


def refresh_report(run: RunReader) -> str:
    """Write `report.html` and draw `figures/` anew; returns the URI of the page. Errors as `write_report`."""
    uri = write_report(run)
    draw_figures(run)
    return uri
