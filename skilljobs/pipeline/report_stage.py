"""The last stage: the report."""

from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.store.reader import RunReader
from skilljobs.store.run import REPORT_NAME


class Report(Stage):
    """Write the page. The run counts as complete without it."""

    name = "report"
    writes = (REPORT_NAME,)
    records_digests = False
    is_required = False

    def prepare(self) -> None:
        """Import what draws, and have its JavaScript ready."""
        from skilljobs.report.page import vega_bundle

        vega_bundle()

    def run(self, job: Job) -> str:
        from skilljobs.report.page import write_report

        return write_report(RunReader(job.run.uri))
