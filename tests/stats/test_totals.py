from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from skilljobs.stats.totals import LayerSums, tree_sum


@dataclass(frozen=True)
class Trace:
    """Adds up to the text of its additions."""

    text: str

    def __add__(self, other: "Trace", /) -> "Trace":
        return Trace(f"({self.text}+{other.text})")


@pytest.mark.parametrize(
    ("count", "tree"),
    [(1, "0"), (2, "(0+1)"), (3, "((0+1)+2)"), (4, "((0+1)+(2+3))"), (7, "(((0+1)+(2+3))+((4+5)+6))")],
)
def test_sums_are_taken_in_a_fixed_tree(count: int, tree: str) -> None:
    assert tree_sum(Trace(str(number)) for number in range(count)) == Trace(tree)


@pytest.mark.parametrize("count", range(1, 12))
def test_sums_of_layers_are_added_in_place_and_their_parts_are_not(count: int) -> None:
    rng = np.random.default_rng(count)
    values = [{"sum_a": rng.normal(size=(3, 5)), "sum_ay:null:0": rng.normal(size=(1, 5))} for _ in range(count)]
    parts = [LayerSums({name: array.copy() for name, array in of_part.items()}) for of_part in values]
    for part in parts:
        for array in part.columns.values():
            array.flags.writeable = False  # as those of a file are
    total = tree_sum(parts)
    assert total is not None
    for name in values[0]:
        assert total.columns[name].tobytes() == _added([of_part[name] for of_part in values]).tobytes()
    halves = [tree_sum(parts[: count // 2]), tree_sum(parts[count // 2 :])]
    before = [None if half is None else half.columns["sum_a"].tobytes() for half in halves]
    tree_sum(half for half in halves if half is not None)
    assert before == [None if half is None else half.columns["sum_a"].tobytes() for half in halves]


def _added(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    if len(arrays) == 1:
        return arrays[0]
    middle = 1 << (len(arrays) - 1).bit_length() - 1
    return _added(arrays[:middle]) + _added(arrays[middle:])


def test_the_sum_of_nothing_is_none() -> None:
    assert tree_sum(list[Trace]()) is None
