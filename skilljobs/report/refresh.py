"""Everything that a run has to look at: its page, and its figures as files."""

from skilljobs.report.figures import figures_drawn
from skilljobs.report.page import write_report
from skilljobs.store.reader import RunReader


def refresh_report(run: RunReader) -> str:
    """Write `report.html` and draw `figures/` anew; returns the URI of the page. Errors as `write_report`."""
    uri: str | None = None
    try:
        with figures_drawn(run):
            uri = write_report(run)  # while threads save the figures
    finally:
        uri = uri or write_report(run)
    return uri
