"""Everything that a run has to look at: its page, and its figures as files."""

from contextlib import ExitStack

from skilljobs.report.figures import figures_drawn
from skilljobs.report.page import write_report
from skilljobs.store.reader import RunReader


def refresh_report(run: RunReader) -> str:
    """Write `report.html` and draw `figures/` anew; returns the URI of the page. Errors as `write_report`.

    The page is written whether or not the figures can be drawn.
    """
    failure: Exception | None = None
    with ExitStack() as stack:
        try:
            stack.enter_context(figures_drawn(run))
        except Exception as error:
            failure = error
        uri = write_report(run)  # while threads save the figures
    if failure is not None:
        raise failure
    return uri
