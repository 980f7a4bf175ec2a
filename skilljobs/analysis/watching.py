"""The correlations of a run that is still being collected, computed from the shards committed so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.errors import InputError
from skilljobs.reduce.correlation_table import correlation_table
from skilljobs.reduce.running_totals import RunningTotals
from skilljobs.stats.correlate import correlation_columns, strongest_first
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.references import REFERENCE_NAME, read_layer_reference
from skilljobs.suggestions import did_you_mean, shortened


@dataclass(frozen=True)
class Snapshot:
    """The strongest neurons over the shards that have been committed so far."""

    shards: int
    """Committed shards that have been read."""
    total_shards: int
    examples: int
    """Examples in the committed shards."""
    total_examples: int
    top: pl.DataFrame | None
    """The strongest neurons of each metric, with the columns of `correlations`, of which q and the correlations on the
    halves are null. None before the first shard is committed."""


class Watcher:
    """Computes the correlations so far, reading each committed shard of a run once.

    If the run has several soft prompts, the shards are those of the last one that was started. The sums of one shard
    are held in memory.
    """

    def __init__(self, run: RunReader, metrics: Sequence[str], k: int) -> None:
        self.run = run.prompts()[-1]
        self.metrics, self.k = metrics, k
        self._read: set[int] = set()
        self._totals: RunningTotals | None = None

    @property
    def started(self) -> bool:
        """Whether collection has started. Before that, a run has no metrics."""
        return self.run.folder.exists(REFERENCE_NAME)

    def update(self) -> Snapshot:
        """Read the shards that have been committed since the last update.

        Raises:
            InputError: the run has no such metric.
        """
        self.run.reload()
        if self.run.record.sums_dropped:
            self.run.require_sums()
        shards = self.run.record.shards
        if self._read and max(self._read) >= len(shards):  # collection stopped early and deleted them
            self._read, self._totals = set(), None
        if self.started:
            self._add([n for n in self.run.committed_numbers() if n not in self._read and n < len(shards)])
        done = sum(shards[number] for number in self._read)
        return Snapshot(len(self._read), len(shards), done, sum(shards), self._top() if self._read else None)

    def _add(self, shards: Sequence[int]) -> None:
        if self._totals is None:
            layers = len(self.run.record.neurons)
            self._totals = RunningTotals(self.run.folder, self.run.layout(), layers)
        for shard in shards:
            try:
                self._totals.add(shard)
            except FileNotFoundError:
                return  # collection has just stopped early and deleted it
            self._read.add(shard)

    def _top(self) -> pl.DataFrame:
        layout = self.run.layout()
        known = [metric.name for metric in layout.metrics if metric.kind != "null"]
        for metric in self.metrics:
            if metric not in known:
                raise InputError(
                    f"the run has no metric {metric!r}{did_you_mean(metric, known)}; it has {shortened(known)}"
                )
        assert self._totals is not None
        layers = list(self._totals.layers())
        keeps_tokens = self.run.record.job_spec.tokens == "each"
        tokens = len(read_layer_reference(self.run.folder, 0)) if keeps_tokens else None
        frames = []
        for metric in self.metrics or known:
            tables = []
            for neurons, totals in zip(self.run.record.neurons, layers, strict=True):
                centred = totals.centred(metric, ALL)
                columns = correlation_columns(centred, [None, None])
                table = correlation_table(columns, neurons, tokens, metric, ALL, centred.n)
                tables.append(pl.DataFrame(table.take(strongest_first(columns["r"], self.k))))
            frames.append(pl.concat(tables).sort(pl.col("r").abs(), descending=True, maintain_order=True).head(self.k))
        return pl.concat(frames)
