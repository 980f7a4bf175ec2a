"""Computing partial correlations from sums alone.

A partial correlation is the correlation of the residuals of a neuron and of a metric after a least-squares fit on other
metrics (Fisher 1924). It is computed from centred sums and products, without another pass over the examples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.centred import Activations, Centred

Array = NDArray[np.float64]

COLLINEAR = 1e-10
"""Below this eigenvalue of their correlation matrix, the given metrics are treated as linearly dependent."""


@dataclass(frozen=True)
class Given:
    """Centred sums of products of the metrics that are held fixed, for G such metrics and N neurons.

    `square` (G x G) are the products among themselves, `metric` (G) those with the metric of interest, and `activation`
    (G x N) those with the neurons.
    """

    square: Array
    metric: Array
    activation: Array

    def __add__(self, other: "Given", /) -> "Given":
        return Given(self.square + other.square, self.metric + other.metric, self.activation + other.activation)


def partial(centred: Centred, given: Given) -> Centred:
    """Return `centred` with the given metrics regressed out of both sides, so that its `r` is the partial correlation.

    Linearly dependent metrics count only once: in a complete set of one-hot levels, one level is redundant. The r of a
    metric or neuron that the given metrics explain entirely is undefined.
    """
    scale = np.sqrt(np.diag(given.square))
    varies = scale > 0
    if not varies.any():
        return centred
    scale = scale[varies]
    values, vectors = np.linalg.eigh(given.square[np.ix_(varies, varies)] / np.outer(scale, scale))
    kept = values > COLLINEAR
    whitened = vectors[:, kept] / np.sqrt(values[kept])
    on_metric = whitened.T @ (given.metric[varies] / scale)
    on_activation = whitened.T @ (given.activation[varies] / scale[:, None])
    metric_left = centred.metric_square - float(on_metric @ on_metric)
    before = centred.activations
    square_left = before.square - (on_activation**2).sum(0)
    square = np.where(square_left > COLLINEAR * before.square, square_left, 0.0)
    return Centred(
        Activations(before.n, before.fitted + int(kept.sum()), square, before.mean),
        metric_square=metric_left if metric_left > COLLINEAR * centred.metric_square else 0.0,
        product=centred.product - on_metric @ on_activation,
    )
