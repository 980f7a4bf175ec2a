"""The correlations of null metrics within groups, from sums over all examples.

Null metrics are summed with neurons over `all` only. If the groups of a column cover all examples, then with an
activation a and a null metric z, the products about the means of the groups are

    sum over all of a z  -  sum over groups of (mean of a in the group) x (sum of z in the group)

so that of the groups only the moments of the null metrics are needed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.centred import Centred, metric_square, sum_in_order
from skilljobs.stats.layout import ALL, Layout
from skilljobs.stats.totals import LayerTotals, Moments

Array = NDArray[np.float64]


def has_group_moments(moments: Moments, layout: Layout, metric: str, population: str) -> bool:
    """Whether the moments of a null metric were kept in the groups of `population`: older runs lack them."""
    return all((member, metric, metric) in moments.index for member in layout.members_of(population))


def covers_all(moments: Moments, layout: Layout, metric: str, population: str) -> bool:
    """Whether the groups of `population` hold all examples."""
    members = layout.members_of(population)
    return sum(moments.pair(member, metric, metric)[0] for member in members) == moments.pair(ALL, metric, metric)[0]


def null_centred(totals: LayerTotals, metrics: Sequence[str], population: str) -> list[Centred] | None:
    """Return the centred sums of null metrics within the groups of `population`, all of one layer.

    They are None if the groups do not cover all examples, or if their moments were not kept.
    """
    layout, moments = totals.layout, totals.moments
    if not metrics or not all(has_group_moments(moments, layout, metric, population) for metric in metrics):
        return None
    if not covers_all(moments, layout, metrics[0], population):
        return None
    groups, sums = layout.members_of(population), []
    for group in groups:
        n, place = moments.pair(group, metrics[0], metrics[0])[0], layout.populations.index(group)
        sum_a, sum_aa = (totals.sums.column(name, place) for name in ("sum_a", "sum_aa"))
        sums.append((n, sum_a, sum_aa))
    means = [sum_a / max(1, n) for n, sum_a, _ in sums]
    nothing = np.zeros_like(means[0])
    parts = [Centred.of(n, sum_a, sum_aa, nothing, 0.0, 0.0, totals.reference) for n, sum_a, sum_aa in sums]
    pooled = Centred.pooled(parts)
    whole = layout.populations.index(ALL)
    results = []
    for metric in metrics:
        of_metric = [moments.pair(group, metric, metric) for group in groups]
        square = sum(metric_square(n, total, total_square) for n, total, _, total_square in of_metric if n)
        # in their order: the last bits of a product of matrices depend on threads and processor
        expected = sum_in_order(total * mean for (_, total, *_), mean in zip(of_metric, means, strict=True))
        product = totals.sums.column(f"sum_ay:{metric}", whole) - expected
        results.append(replace(pooled, metric_square=square, product=product))
    return results
