import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilljobs.spill import spilled_column, temporary_file
from skilljobs.spill.spilled_column import SpilledColumn, filled
from skilljobs.spill.temporary_file import TemporaryFile

PLACES = st.tuples(st.integers(-30, 30), st.integers(-30, 30))


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_file, "IN_MEMORY", 40)
    monkeypatch.setattr(spilled_column, "EXTENT_BYTES", 32)
    monkeypatch.setattr(spilled_column, "BLOCK_ROWS", 7)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.bool_, np.float64])
@given(parts=st.lists(st.integers(0, 12), max_size=6), asked=st.lists(PLACES, max_size=4))
def test_a_column_is_the_array_of_what_was_appended(
    kind: type[np.generic], parts: list[int], asked: list[tuple[int, int]]
) -> None:
    numbers = np.random.default_rng(len(parts)).integers(0, 2, sum(parts)).astype(kind)
    starts = np.cumsum([0, *parts])
    column = SpilledColumn.of(kind, (numbers[starts[part] : starts[part + 1]] for part in range(len(parts))))
    assert len(column) == len(numbers)
    assert column[:].dtype == numbers.dtype
    assert column[:].tolist() == numbers.tolist()
    for start, stop in asked:
        assert column[start:stop].tolist() == numbers[start:stop].tolist()
    assert [number for _, block in column.blocks() for number in block.tolist()] == numbers.tolist()
    assert all(numbers[start : start + len(block)].tolist() == block.tolist() for start, block in column.blocks())


@given(size=st.integers(0, 40), written=st.lists(PLACES, max_size=6))
def test_what_is_written_over_is_there(size: int, written: list[tuple[int, int]]) -> None:
    column, expected = filled(size, np.int64(7), np.int64), np.full(size, 7)
    for number, (start, stop) in enumerate(written):
        values = np.full(len(expected[start:stop]), number)
        column[start:stop] = expected[start:stop] = values
    column.append(np.array([5]))
    assert column[:].tolist() == [*expected.tolist(), 5]


def test_columns_share_a_file() -> None:
    file = TemporaryFile(1)
    first, second = SpilledColumn(np.int64, file), SpilledColumn(np.float64, file)
    for number in range(20):
        first.append(np.array([number]))
        second.append(np.array([number / 2]))
    assert first[:].tolist() == list(range(20))
    assert second[:].tolist() == [number / 2 for number in range(20)]
