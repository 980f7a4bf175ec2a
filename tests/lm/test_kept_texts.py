"""Texts that are kept give the same prompt to the last bit, and only those are that stay what they are."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm import prompt_objective
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts, read_texts
from skilljobs.lm.kept_texts import KeptTexts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.tuning_rounds import TuneSettings
from tests.lm.test_forward import build, random_batch
from tests.tuning import first_state, objective, tune


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("loss", ["target", "choices"])
def test_the_prompt_is_the_same_to_the_last_bit(architecture: str, loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = FrozenLM(build(architecture), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    train, validation = random_batch(50), random_batch(9, 1)  # three batches of two parts each, and four parts
    settings = TuneSettings(steps=12, loss=loss, seed=0, batch_tokens=4000, parts=2)
    read: list[int] = []

    def counted(lm: FrozenLM, batch: Sequence[TokenizedExample], unread: int) -> CachedTexts:
        read.append(len(batch))
        return read_texts(lm, batch, unread)

    monkeypatch.setattr(prompt_objective, "read_texts", counted)
    found = []
    for share in (0.15, 0.0):
        monkeypatch.setattr(prompt_objective, "SHARE_OF_MEMORY", share)
        state, points = first_state(lm), []
        points = tune(objective(lm, train, validation, settings), state)
        found.append((state.vectors.tobytes(), state.best.tobytes(), [point.loss for point in points]))
        assert len(read) == (3 * 2 + 4 if share else 0), "elsewhere, texts are read where they are needed"
        read.clear()
    assert found[0] == found[1]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    batches = [random_batch(4, seed) for seed in range(3)]
    size = read_texts(lm, batches[0], 0).size
    assert size > 0

    def reader(number: int) -> Callable[[], CachedTexts]:
        return lambda: read_texts(lm, batches[number], 0)

    kept = KeptTexts(size + 1)
    assert kept.taken_or_read(0, reader(0)) is not None
    assert kept.taken_or_read(1, reader(1)) is not None
    assert (0 in kept, 1 in kept, kept.has_room) == (True, False, False)
    assert kept.taken_or_read(2, reader(2)) is None, "it is read where it is needed"
    assert kept.taken_or_read(0, reader(1)) is not None

    def no_memory() -> CachedTexts:
        raise torch.OutOfMemoryError

    assert KeptTexts(size).taken_or_read(0, no_memory) is None


def test_what_may_be_changed_in_place_is_not_kept() -> None:
    lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    texts = read_texts(lm, random_batch(4), 0)
    assert texts.can_be_read_again
    assert texts.cache is not None

    class Recurrent(type(texts.cache.layers[0])):  # type: ignore[misc]
        pass

    texts.cache.layers[1].__class__ = Recurrent
    kept = KeptTexts(10**9)
    kept.keep(0, texts)
    assert 0 not in kept
