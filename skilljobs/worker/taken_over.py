"""Taking over the sums of the run that metrics are added to, once they are seen to be of the same activations."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skilljobs.errors import JobFailed
from skilljobs.plan.work import LikeWork
from skilljobs.reduce.shard_sums import read_shard
from skilljobs.stats.layout import Layout
from skilljobs.stats.sums import ShardSums
from skilljobs.stats.totals import LayerSums, Moments
from skilljobs.store.files import Folder
from skilljobs.store.shards import Receipt, committed_receipt

Array = NDArray[np.float64]
TOLERANCE = 1e-9
"""Of what two orders of the same float64 additions differ by at most, relative to the sum of absolute values."""


def check_same_scores(like: LikeWork, shard: int, scores_digest: str) -> None:
    """Check that the model answered a shard as it did in the run.

    Raises:
        JobFailed: it did not, or the run's shard is damaged.
    """
    if _receipt(like, shard).scores_digest != scores_digest:
        raise _different(like, shard, "the model's answers")


def take_over(sums: ShardSums, layout: Layout, like: LikeWork, shard: int) -> ShardSums:
    """The sums of a shard, with those that the run has exactly as it has them.

    Raises:
        JobFailed: they are not those of the same activations and metrics, or the run's shard is damaged.
    """
    _receipt(like, shard)
    moments, layers = read_shard(Folder(like.uri), shard, len(sums.linear), like.layout)
    taken = ShardSums(
        linear=[layer.copy() for layer in sums.linear],
        square=[layer.copy() for layer in sums.square],
        count=sums.count,
        moment_count=sums.moment_count,
        moment_sum=sums.moment_sum.copy(),
        moment_square=sums.moment_square.copy(),
        moment_product=sums.moment_product.copy(),
    )
    _take_moments(taken, layout, moments, like, shard)
    for number, layer in enumerate(layers):
        _take_layer(taken, number, layout, layer, like, shard)
    return taken


def _take_moments(taken: ShardSums, layout: Layout, moments: Moments, like: LikeWork, shard: int) -> None:
    metrics = {metric.name: place for place, metric in enumerate(layout.metrics)}
    populations = {name: place for place, name in enumerate(layout.populations)}
    for (population, first, second), row in moments.index.items():
        k, a, b = populations[population], metrics[first], metrics[second]
        if taken.moment_count[k, a, b] != moments.n[row]:
            raise _different(like, shard, f"{first} and {second} over {population}")
        sum_a, sum_b, sum_ab, sum_aa, sum_bb = (float(value) for value in moments.sums[:, row])
        n = float(moments.n[row])
        for array, place, value, scale in (
            (taken.moment_sum, (k, a, b), sum_a, np.sqrt(n * sum_aa)),
            (taken.moment_sum, (k, b, a), sum_b, np.sqrt(n * sum_bb)),
            (taken.moment_square, (k, a, b), sum_aa, sum_aa),
            (taken.moment_square, (k, b, a), sum_bb, sum_bb),
            (taken.moment_product, (k, a, b), sum_ab, np.sqrt(sum_aa * sum_bb)),
            (taken.moment_product, (k, b, a), sum_ab, np.sqrt(sum_aa * sum_bb)),
        ):
            if not abs(array[place] - value) <= TOLERANCE * scale:
                raise _different(like, shard, f"{first} and {second} over {population}")
            array[place] = value


def _take_layer(taken: ShardSums, number: int, layout: Layout, layer: LayerSums, like: LikeWork, shard: int) -> None:
    linear, square = taken.linear[number], taken.square[number]
    for name, is_square, place, metric in _places(layout):
        if name not in layer.columns:
            continue
        array = (square if is_square else linear)[:, place]
        before = layer.columns[name]
        now = array[: len(before)]  # null metrics are summed over all examples only
        scale = square[:, 0] if is_square else np.sqrt(square[:, 0] * _sums_of_squares(taken, metric)[:, None])
        if not (np.abs(now - before) <= TOLERANCE * scale[: len(before)]).all():
            raise _different(like, shard, f"{name} of neurons of layer number {number}")
        now[...] = before


def _places(layout: Layout) -> Iterator[tuple[str, bool, int, int | None]]:
    """The columns of sums: name, whether it is of squares, its place there, and the metric that it is with."""
    yield "sum_a", False, 0, None
    yield "sum_aa", True, 0, None
    for place, metric in enumerate(layout.metrics):
        yield f"sum_ay:{metric.name}", False, 1 + place, place
    for order, place in enumerate(layout.nullable):
        yield f"sum_a:{layout.metrics[place].name}", False, 1 + len(layout.metrics) + order, None
        yield f"sum_aa:{layout.metrics[place].name}", True, 1 + order, None


def _sums_of_squares(taken: ShardSums, metric: int | None) -> Array:
    """Of a metric about its reference, or of 1, in each population."""
    return taken.count.astype(np.float64) if metric is None else taken.moment_square[:, metric, metric]


def _receipt(like: LikeWork, shard: int) -> Receipt:
    receipt = committed_receipt(Folder(like.uri), shard, like.fingerprint)
    if receipt is None:
        raise JobFailed(f"shard {shard} of {like.uri}, which metrics are added to, is damaged or gone")
    return receipt


def _different(like: LikeWork, shard: int, what: str) -> JobFailed:
    return JobFailed(
        f"{what} in shard {shard} are not what they were in {like.uri}: new sums would not be of the same activations",
        "make a new run with all metrics",
    )
