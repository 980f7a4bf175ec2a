"""The sums of one shard about a fixed reference, as plain arrays.

With a neuron's activation `a` and reference `c`, a metric `y` and its reference `d`, a population's sums are
`n`, sum(a-c), sum((a-c)^2) and sum((a-c)(y-d)). The reference never changes, so sums of different rows simply add.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ShardSums:
    """Sums over K populations, M metrics, of which H are nullable; float64 except for the counts.

    `linear[layer]`: K x (1 + M + H) x neurons, against 1, each y - d, and the presence of each nullable metric.
    `square[layer]`: K x (1 + H) x neurons, of (a-c)^2 against 1 and those presences. "Neurons" counts every token of
    every neuron here, token by token.
    `count`: K. `moment_count`, `moment_sum`, `moment_square`, `moment_product`: K x M x M, over the rows that have both
    metrics: how many there are, the sum of the first, the sum of its square, the sum of the product.
    """

    linear: list[Array]
    square: list[Array]
    count: Counts
    moment_count: Counts
    moment_sum: Array
    moment_square: Array
    moment_product: Array
