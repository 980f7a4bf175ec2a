from collections.abc import Sequence

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.tuning_batches import draw_batch
from tests.lm.test_forward import random_batch


def test_an_epoch_draws_every_example_once() -> None:
    train = random_batch(16 * 19 + 5)
    drawn: list[int] = []
    fetched: set[int] = set()

    def fetch(places: Sequence[int]) -> list[TokenizedExample]:
        fetched.update(places)
        return [train[place] for place in places]

    draw_batch(len(train), fetch, 0, 0)
    assert len(fetched) == 8 * 16
    for step in range(19):
        batch = draw_batch(len(train), fetch, 0, step)
        assert len(batch) == 16
        lengths = [len(train[place].text) for place in batch]
        assert lengths == sorted(lengths)
        drawn += batch
    assert len(set(drawn)) == len(drawn) == 16 * 19
    assert set(drawn) <= set(range(len(train)))
    assert (
        draw_batch(len(train), fetch, 0, 19)
        != draw_batch(len(train), fetch, 0, 0)
        != draw_batch(len(train), fetch, 1, 0)
    )
