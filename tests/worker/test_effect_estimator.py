"""The sums of a shard hold what is finite, and name what is not."""

import numpy as np
import torch

from skilljobs.lm.first_order import FirstOrderEffects
from skilljobs.stats.null import null_signs
from skilljobs.worker.effect_estimator import ShardEffects


def test_examples_that_are_not_finite_are_in_no_sum_and_are_named() -> None:
    effects = torch.tensor([[1.0, 2.0], [torch.nan, 5.0], [3.0, -4.0]], dtype=torch.float64)
    found = FirstOrderEffects([effects], torch.tensor([0.5, 7.0, 2.0]), torch.tensor([True, False, True]))
    members, signs = np.array([[True, False], [True, True], [True, True]]), null_signs(["u", "v", "w"], 3)
    shard = ShardEffects.empty([2], groups=2, draws=3)
    shard.add(found, ["a", "b", "c"], members, signs, {"a": 0.5, "b": 0.0, "c": 1.0})
    [sums] = shard.sums
    assert shard.set_aside == ["b"]
    assert sums.count.tolist() == [2, 1]
    np.testing.assert_array_equal(sums.total, [[4.0, -2.0], [3.0, -4.0]])
    np.testing.assert_array_equal(sums.absolute, [[4.0, 6.0], [3.0, 4.0]])
    np.testing.assert_array_equal(sums.signed, signs[[0, 2]].T @ effects.numpy()[[0, 2]])
    assert shard.difference == 0.5, "of 2 and 1, relative to 1 + 1"


def test_a_shard_without_examples_has_sums_of_none() -> None:
    [sums] = ShardEffects.empty([4], groups=3, draws=2).sums
    assert sums.count.tolist() == [0, 0, 0]
    assert sums.signed.shape == (2, 4)
    assert np.isnan(sums.effect).all()
