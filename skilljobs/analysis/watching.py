"""The correlations so far of a run that is still being collected, from the shards that are committed."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.errors import InputError
from skilljobs.stats.correlate import correlation_columns, strongest_first
from skilljobs.stats.layout import ALL
from skilljobs.reduce.correlation_table import correlation_table
from skilljobs.store.reader import RunReader
from skilljobs.store.references import REFERENCE_NAME, read_layer_reference
from skilljobs.reduce.running_totals import RunningTotals


@dataclass(frozen=True)
class SoFar:
    """`top`: of each metric the strongest neurons over the examples of the committed shards, with the columns of
    `correlations` (q and the halves apart, which are null). None before there is a shard."""

    shards: int
    of_shards: int
    examples: int
    of_examples: int
    top: pl.DataFrame | None


class Watcher:
    """Reads each committed shard of a run once; of several soft prompts, those of the one that is worked on.

    Holds the sums of one shard in memory.

    Raises:
        InputError: the run has no such metric.
    """

    def __init__(self, run: RunReader, metrics: Sequence[str], k: int) -> None:
        self.run = run.prompts()[-1]
        self.metrics, self.k = metrics, k
        self._read: set[int] = set()
        self._totals: RunningTotals | None = None

    @property
    def started(self) -> bool:
        """Whether collecting has begun: until then a run has no metrics."""
        return self.run.folder.exists(REFERENCE_NAME)

    def look(self) -> SoFar:
        """Read what has been committed since the last look."""
        self.run.reload()
        shards = self.run.record["shards"]
        if self._read and max(self._read) >= len(shards):  # collecting has stopped before them: they are gone
            self._read, self._totals = set(), None
        if self.started:
            self._add([n for n in self.run.committed_numbers() if n not in self._read and n < len(shards)])
        done = sum(shards[number] for number in self._read)
        return SoFar(len(self._read), len(shards), done, sum(shards), self._top() if self._read else None)

    def _add(self, shards: Sequence[int]) -> None:
        if self._totals is None:
            layers = len(self.run.record["model"]["neurons_per_layer"])
            self._totals = RunningTotals(self.run.folder, self.run.layout(), layers)
        for shard in shards:
            try:
                self._totals.add(shard)
            except FileNotFoundError:
                return  # collecting has just stopped before it
            self._read.add(shard)

    def _top(self) -> pl.DataFrame:
        layout = self.run.layout()
        known = [metric.name for metric in layout.metrics if metric.kind != "null"]
        for metric in self.metrics:
            if metric not in known:
                raise InputError(f"the run has no metric {metric!r}; it has {', '.join(known)}")
        assert self._totals is not None
        layers = list(self._totals.layers())
        each = self.run.record["spec"]["tokens"] == "each"
        tokens = len(read_layer_reference(self.run.folder, 0)) if each else None
        frames = []
        for metric in self.metrics or known:
            tables = []
            for layer, totals in enumerate(layers):
                centred = totals.centred(metric, ALL)
                columns = correlation_columns(centred, [None, None])
                table = correlation_table(columns, layer, tokens, metric, ALL, centred.n)
                tables.append(pl.DataFrame(table.take(strongest_first(columns["r"], self.k))))
            frames.append(pl.concat(tables).sort(pl.col("r").abs(), descending=True, maintain_order=True).head(self.k))
        return pl.concat(frames)
