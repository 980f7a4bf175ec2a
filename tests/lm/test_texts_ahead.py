"""Texts that are read ahead give the same prompt to the last bit, and are read ahead only where that is safe."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from skilljobs.lm import texts_ahead
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.texts_ahead import TextsAhead, may_read_ahead
from skilljobs.lm.tuning_rounds import TuneSettings
from tests.lm.test_forward import random_batch
from tests.lm.test_prompt_objective import small_lm
from tests.tuning import first_state, objective, tune

SETTINGS = TuneSettings(steps=3, loss="target", seed=0, batch_tokens=4000, parts=2)


@pytest.fixture(autouse=True)
def one_thread_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(texts_ahead, "available_cpus", lambda: 2)
    yield
    torch.set_num_threads(before)


def tuned(lm: FrozenLM, reads_ahead: bool) -> NDArray[np.float32]:
    state = first_state(lm)
    tune(objective(lm, random_batch(70), random_batch(8, 1), SETTINGS), state, reads_ahead=reads_ahead)
    return state.vectors


def test_the_prompt_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    take = TextsAhead.take

    def note(self: TextsAhead, batch: list[object]) -> object:
        taken.append(take(self, batch))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr(TextsAhead, "take", note)
    lm = small_lm()
    ahead = tuned(lm, reads_ahead=True)
    assert [texts is not None for texts in taken] == [False, True, True, True, True, True]
    taken.clear()
    assert np.array_equal(tuned(lm, reads_ahead=False), ahead)
    assert taken == [None] * 6


def test_only_the_batch_that_was_begun_is_taken() -> None:
    ahead = TextsAhead(small_lm())
    batch = random_batch(4)
    ahead.begin(batch)
    assert ahead.take(batch[::-1]) is None
    ahead.begin(batch)
    assert ahead.take(list(batch)) is not None
    assert ahead.take(batch) is None
    ahead.close()


def test_it_needs_a_free_processor_and_a_model_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = small_lm()
    assert may_read_ahead(lm)
    rotary = next(module for module in lm.model.modules() if hasattr(module, "rope_type"))
    monkeypatch.setattr(rotary, "rope_type", "dynamic")
    assert not may_read_ahead(lm)
    monkeypatch.setattr(rotary, "rope_type", {"full_attention": "default", "sliding_attention": "longrope"})
    assert not may_read_ahead(lm)
    monkeypatch.setattr(rotary, "rope_type", "default")
    monkeypatch.setattr(texts_ahead, "available_cpus", lambda: 1)
    assert not may_read_ahead(lm)
