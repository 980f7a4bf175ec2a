"""Partial correlations agree with correlations of least-squares residuals."""

import numpy as np
import pytest

from skilljobs.stats.centred import Centred
from skilljobs.stats.partial import Given, partial


def sums(a: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[Centred, Given]:
    n = len(y)
    centred = Centred.of(
        n, a.sum(0), (a**2).sum(0), (a * y[:, None]).sum(0), y.sum(), (y**2).sum(), np.zeros(a.shape[1])
    )
    dz, dy, da = z - z.mean(0), y - y.mean(), a - a.mean(0)
    return centred, Given(dz.T @ dz, dz.T @ dy, dz.T @ da)


def residual_r(a: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(y)), z])
    residuals = np.column_stack([a, y])
    residuals = residuals - design @ np.linalg.lstsq(design, residuals, rcond=None)[0]
    return np.corrcoef(residuals.T)[-1, :-1]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_r_equals_that_of_least_squares_residuals(scale: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 3)) * [1.0, scale, 10.0] + [0, 5 * scale, -3]
    y = z @ [0.5, 0.3 / scale, 0.01] + rng.normal(size=300)
    a = z[:, :1] * rng.normal(size=8) + 0.2 * y[:, None] + rng.normal(size=(300, 8))
    centred, given = sums(a, y, z)
    residual = partial(centred, given)
    np.testing.assert_allclose(residual.r(), residual_r(a, y, z), atol=1e-9)
    assert residual.degrees_of_freedom == 300 - 2 - 3


def test_one_of_a_complete_set_of_levels_does_not_count() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 4, 400)
    z = (group[:, None] == np.arange(4)).astype(float)
    y = group + rng.normal(size=400)
    a = group[:, None] * 2.0 + rng.normal(size=(400, 5)) + 0.1 * y[:, None]
    residual = partial(*sums(a, y, z))
    assert residual.degrees_of_freedom == 400 - 2 - 3
    np.testing.assert_allclose(residual.r(), residual_r(a, y, z[:, 1:]), atol=1e-9)


def test_a_metric_or_neuron_that_is_fully_explained_has_no_r() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(size=(100, 2))
    y = z @ [1.0, 2.0]
    a = np.column_stack([z[:, 0], rng.normal(size=100)])
    assert np.isnan(partial(*sums(a, y, z)).r()).all()
    other = partial(*sums(a, rng.normal(size=100), z))
    assert np.isnan(other.r()[0])
    assert not np.isnan(other.r()[1])


def test_holding_a_constant_metric_fixed_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    a, y = rng.normal(size=(50, 4)), rng.normal(size=50)
    centred, given = sums(a, y, np.full((50, 1), 7.0))
    assert partial(centred, given) == centred
