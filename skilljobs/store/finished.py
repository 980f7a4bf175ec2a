"""The files of a finished run, for jobs that read its model again and must leave its record as it is."""

from skilljobs.store.record import RunRecord
from skilljobs.store.run import RunFiles


class FinishedRunFiles(RunFiles):
    """A run whose record is not written: changes are checked against its fingerprint, and then forgotten."""

    def save(self, record: RunRecord) -> None:
        """Keep `record` in memory alone."""
        self._record = record
