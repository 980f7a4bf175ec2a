import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilljobs.spill import buckets, temporary_file
from skilljobs.spill.buckets import Buckets, HashOrder, bucket_of_hash, in_places

HASHES = st.lists(st.integers(0, 5).map(lambda n: n * 3689348814741910323) | st.integers(0, 2**64 - 1), max_size=60)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET_ROWS", 5)
    monkeypatch.setattr(buckets, "BUFFERED_ROWS", 4)
    monkeypatch.setattr(temporary_file, "IN_MEMORY", 100)


@given(hashes=HASHES, size=st.integers(1, 9))
def test_the_order_is_that_of_the_hashes_and_then_that_of_adding(hashes: list[int], size: int) -> None:
    values = np.array(hashes, np.uint64)
    order = HashOrder(len(values), np.int64)
    for start in range(0, len(values), size):
        part = values[start : start + size]
        order.add(part, np.arange(start, start + len(part)))
    assert order.size == len(values)
    found = [number for (block,) in order.blocks() for number in block.tolist()]
    assert found == np.argsort(values, kind="stable").tolist()


@given(hashes=HASHES, count=st.integers(1, 1000))
def test_a_larger_hash_is_in_no_earlier_bucket(hashes: list[int], count: int) -> None:
    found = bucket_of_hash(np.sort(np.array(hashes, np.uint64)), count).astype(int)
    assert ((found >= 0) & (found < count)).all()
    assert (np.diff(found) >= 0).all()


@given(places=st.lists(st.integers(0, 40), unique=True, max_size=30), size=st.integers(1, 9))
def test_numbers_come_to_their_places(places: list[int], size: int) -> None:
    numbers = np.arange(len(places)) / 2
    expected = np.full(41, np.nan)
    expected[places] = numbers
    parts = [slice(start, start + size) for start in range(0, len(places), size)]
    blocks = ((np.array(places, np.int64)[part], numbers[part]) for part in parts)
    assert np.array_equal(in_places(blocks, 41, np.float64, np.nan)[:], expected, equal_nan=True)


def test_nothing_has_no_places() -> None:
    assert len(in_places([], 0, np.int32, -1)) == 0
    assert [len(block) for (block,) in HashOrder(0, np.int64).blocks()] == [0]


def test_rows_of_several_types_stay_together() -> None:
    rows = Buckets(3, np.int8, np.float64)
    for number in range(20):
        rows.add(np.array([number % 3]), np.array([number]), np.array([number / 4]))
    first, second = rows.read(1)
    assert (first.dtype.name, second.dtype.name) == ("int8", "float64")
    assert first.tolist() == list(range(1, 20, 3))
    assert (second * 4 == first).all()
