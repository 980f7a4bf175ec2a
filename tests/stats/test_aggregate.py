import numpy as np
import pytest

from skilljobs.stats.aggregate import mean_correlation


def test_correlations_are_averaged_by_fishers_z() -> None:
    r = np.array([[0.5, 0.9, 1.0, np.nan, 1.0], [0.5, -0.9, 0.2, 0.3, -1.0]])
    mean = mean_correlation(r)
    assert mean[:3] == pytest.approx([0.5, 0.0, 1.0])
    assert np.isnan(mean[3:]).all()
