"""The last stage: the report and the figures."""

from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.store.reader import RunReader
from skilljobs.store.run import FIGURES, REPORT_NAME


class Report(Stage):
    """Write the page and draw the figures. The run counts as complete without them."""

    name = "report"
    writes = (REPORT_NAME, f"{FIGURES}/*")
    records_digests = False
    is_required = False

    def prepare(self) -> None:
        """Import what draws, and have its JavaScript ready."""
        from skilljobs.report.page import vega_bundle

        vega_bundle()

    def run(self, job: Job) -> str:
        from skilljobs.report.refresh import refresh_report

        return refresh_report(RunReader(job.run.uri))
