"""Stopping when the correlations are known well enough.

The decision looks only at whole prefixes of the order of shards, so that the same job stops at the same shard on any
cluster.
"""

from collections.abc import Iterator

import numpy as np

from skilljobs.reduce.running_totals import RunningTotals
from skilljobs.stats.correlate import interval
from skilljobs.stats.layout import ALL
from skilljobs.stats.totals import LayerTotals
from skilljobs.store.reader import RunReader

FEWEST_EXAMPLES = 100
"""With fewer examples that have a metric, its intervals are not believed, however narrow."""
GROWTH = 1.05
"""Growth of the prefix between two decisions: with many shards, looking after each would cost more than it saves."""


def prefixes(shards: int) -> Iterator[int]:
    """The numbers of shards after which to decide, ascending and below `shards`."""
    prefix = 2  # a shard of either half
    while prefix < shards:
        yield prefix
        prefix = max(prefix + 1, int(prefix * GROWTH))


class StoppingRule:
    """Decides whether a prefix of a run's shards is enough: over all examples, the 95 % interval of r = 0 with every
    metric is narrower than `width`. Metrics with which no neuron has an r are ignored.

    The interval of r = 0 is the widest that there is for a number of examples. That of a neuron that was selected for
    its large r would be narrower, the more so the fewer examples there are, and would stop the run too early.

    Holds the sums of one shard in memory.
    """

    def __init__(self, run: RunReader, width: float) -> None:
        layout, shards = run.layout(), len(run.record.shards)
        self._metrics = [metric.name for metric in layout.metrics if metric.kind != "null"]
        self._totals = RunningTotals(run.folder, layout, len(run.record.neurons))
        self._width = width
        self._prefixes = list(prefixes(shards))
        self._committed: set[int] = set()
        self._read = 0

    def committed(self, shard: int) -> int | None:
        """Note that a shard is committed. Returns the number of shards that are enough, once there is one."""
        self._committed.add(shard)
        while self._prefixes and self._committed.issuperset(range(self._prefixes[0])):
            prefix = self._prefixes.pop(0)
            for number in range(self._read, prefix):
                self._totals.add(number)
            self._read = prefix
            widest = self.widest()
            if widest is not None and widest < self._width:
                return prefix
        return None

    def widest(self) -> float | None:
        """The widest of the deciding intervals; None if no metric has any."""
        layers = list(self._totals.layers())
        widths = [width for metric in self._metrics if (width := _width_at_zero(layers, metric)) is not None]
        return max(widths, default=None)


def _width_at_zero(layers: list[LayerTotals], metric: str) -> float | None:
    """The width of the interval of r = 0 with a metric; 2 if there are too few examples, None without any r."""
    centred = [totals.centred(metric, ALL) for totals in layers]
    if all(bool(np.isnan(layer.r()).all()) for layer in centred):
        return None
    if centred[0].n < FEWEST_EXAMPLES:
        return 2.0
    low, high = interval(np.zeros(1), centred[0].degrees_of_freedom)
    return float((high - low)[0])
