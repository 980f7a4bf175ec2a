"""Partial correlations from sums alone.

The correlation of a neuron and a metric that is left when both are replaced by their residuals of a least-squares fit
on other metrics (Fisher 1924), computed from centred sums and products, without another pass over the examples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.correlate import Centred

Array = NDArray[np.float64]

COLLINEAR = 1e-10
"""Given metrics whose correlation matrix has an eigenvalue below this are as good as combinations of the others."""


@dataclass(frozen=True)
class Given:
    """Centred sums of the metrics that are held fixed. G metrics, N neurons.

    `square`: G x G, among themselves. `metric`: G, with the metric of interest. `activation`: G x N, with the neurons.
    """

    square: Array
    metric: Array
    activation: Array

    def __add__(self, other: "Given", /) -> "Given":
        return Given(self.square + other.square, self.metric + other.metric, self.activation + other.activation)


def partial(centred: Centred, given: Given) -> Centred:
    """`centred` with `given` taken out of both sides: its `r` is the partial correlation.

    Directions that the given metrics span together count once: of a complete set of one-hot levels one is redundant.
    A metric or neuron that they explain entirely has no r.
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
    activation_left = centred.activation_square - (on_activation**2).sum(0)
    return Centred(
        n=centred.n,
        fitted=centred.fitted + int(kept.sum()),
        activation_square=np.where(activation_left > COLLINEAR * centred.activation_square, activation_left, 0.0),
        metric_square=metric_left if metric_left > COLLINEAR * centred.metric_square else 0.0,
        product=centred.product - on_metric @ on_activation,
        activation_mean=centred.activation_mean,
    )
