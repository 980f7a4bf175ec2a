from collections.abc import Sequence

import pytest

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.tuning_batches import batches_of_epoch, draw_batch, places_drawn
from tests.lm.test_forward import random_batch


def test_an_epoch_draws_every_example_once() -> None:
    train = random_batch(16 * 19 + 5)
    fetched: set[int] = set()

    def fetch(places: Sequence[int]) -> list[TokenizedExample]:
        fetched.update(places)
        return [train[place] for place in places]

    draw_batch(len(train), fetch, 0, 0)
    assert fetched == set(places_drawn(len(train), 0, 8))
    assert len(fetched) < 140
    first, second = ([draw_batch(len(train), fetch, 0, 19 * epoch + step) for step in range(19)] for epoch in (0, 1))
    assert sorted(place for batch in first for place in batch) == list(range(len(train)))
    for batch in first:
        assert len(batch) in (16, 17)
        lengths = [len(train[place].text) for place in batch]
        assert lengths == sorted(lengths)
    assert first != second
    assert sorted(first) == sorted(second), "what is read of a batch's texts can be used again"
    assert draw_batch(len(train), fetch, 0, 0) != draw_batch(len(train), fetch, 1, 0)


@pytest.mark.parametrize("count", [1, 5, 16, 23, 24, 25, 100, 131, 1000])
def test_batches_of_any_number_of_examples_are_of_nearly_equal_size(count: int) -> None:
    train = random_batch(1) * count
    batches = [
        draw_batch(count, lambda places: [train[place] for place in places], 3, step)
        for step in range(batches_of_epoch(count))
    ]
    sizes = {len(batch) for batch in batches}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 24
    assert sorted(place for batch in batches for place in batch) == list(range(count))


@pytest.mark.parametrize("steps", [1, 3, 8, 9, 100])
def test_what_is_fetched_is_known_beforehand(steps: int) -> None:
    train, fetched = random_batch(205), set[int]()

    def fetch(places: Sequence[int]) -> list[TokenizedExample]:
        fetched.update(places)
        return [train[place] for place in places]

    for step in range(steps):
        draw_batch(len(train), fetch, 1, step)
    assert fetched <= set(places_drawn(len(train), 1, steps))
