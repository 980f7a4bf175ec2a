"""The totals of a run that is still being collected: shards are added as they are committed, and each is read once."""

from collections.abc import Iterator

from skilljobs.reduce.shard_sums import read_shard
from skilljobs.stats.layout import Layout
from skilljobs.stats.totals import LayerSums, LayerTotals, Moments
from skilljobs.store.files import Folder
from skilljobs.store.references import read_layer_reference


class RunningTotals:
    """Holds the sums of one shard in memory. The last bits depend on the order in which shards are added."""

    def __init__(self, folder: Folder, layout: Layout, layers: int) -> None:
        self._folder, self._layout, self._layers = folder, layout, layers
        self._sums: list[LayerSums] = []
        self._moments: Moments | None = None

    def add(self, shard: int) -> None:
        """Add a committed shard.

        Raises:
            FileNotFoundError: it is not committed.
        """
        moments, layers = read_shard(self._folder, shard, self._layers, self._layout)
        self._moments = moments if self._moments is None else self._moments + moments
        for layer, sums in enumerate(layers):
            if layer == len(self._sums):
                self._sums.append(sums)
            else:
                self._sums[layer] = self._sums[layer] + sums

    def layers(self) -> Iterator[LayerTotals]:
        """The totals of each layer; none before there is a shard."""
        if self._moments is not None:
            for layer, sums in enumerate(self._sums):
                reference = read_layer_reference(self._folder, layer).ravel()
                yield LayerTotals(self._layout, sums, self._moments, reference)
