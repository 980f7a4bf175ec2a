"""Texts that are kept give the same prompt to the last bit, and only those are that stay what they are."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm import kept_texts, losses, prompt_objective
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts, read_texts
from skilljobs.lm.kept_texts import KeptTexts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.tuning_rounds import TuneSettings
from skilljobs.pipeline.prompt_tuning import PartHalved
from skilljobs.worker.scorer import Scorer
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

    for module in (prompt_objective, losses):
        monkeypatch.setattr(module, "read_texts", counted)
    found = []
    for share in (0.15, 0.0):
        monkeypatch.setattr(kept_texts, "SHARE_OF_MEMORY", share)
        state = first_state(lm)
        points = tune(objective(lm, train, validation, settings), state)
        found.append((state.vectors.tobytes(), state.best.tobytes(), [point.loss for point in points]))
        of_one = 1  # which tells what a gradient keeps
        assert len(read) == of_one + (3 * 2 + 4 if share else 12 * 2 + 2 * 4)
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


def test_what_a_window_leaves_of_long_texts_counts_as_it_is_held() -> None:
    lm = FrozenLM(build("gemma3", window=4), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    texts = read_texts(lm, random_batch(4), 0)
    assert texts.cache is not None
    seen = sum(part.nbytes for layer in texts.cache.layers for part in (layer.keys, layer.values))
    assert texts.size > seen, "a part of a tensor holds all of it"


@pytest.mark.parametrize("loss", ["target", "choices"])
def test_what_is_kept_gives_way_before_anything_is_split(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    train, validation = random_batch(50), random_batch(9, 1)
    settings = TuneSettings(steps=12, loss=loss, seed=0, batch_tokens=4000, parts=2)
    scores, failed = losses._continuation_scores, list[int]()

    def scarce(*args: Any) -> torch.Tensor:
        """Fails once in a gradient and once in a validation, while anything is kept."""
        if kept._kept and len(failed) < 2 and torch.is_grad_enabled() == (not failed):
            failed.append(1)
            raise torch.OutOfMemoryError
        return scores(*args)

    found = []
    for is_scarce in (False, True):
        made = objective(lm, train, validation, settings)
        kept = made._kept
        monkeypatch.setattr(losses, "_continuation_scores", scarce if is_scarce else scores)
        state, news = first_state(lm), list[object]()
        points = tune(made, state, on_news=news.append)
        assert not any(isinstance(of, PartHalved) for of in news)
        found.append((state.vectors.tobytes(), [point.loss for point in points], made.recompute))
    assert failed
    assert not kept.has_room
    assert found[0] == found[1]


def test_soft_prompts_share_the_room() -> None:
    scorer = Scorer.__new__(Scorer)
    scorer.lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    scorer._switching, scorer._tuners, scorer._computer = Lock(), {}, ThreadPoolExecutor(1)
    scorer._kept_texts = KeptTexts(0)

    def work(job: str, run: str) -> Any:
        return SimpleNamespace(job_id=job, run_id=run)

    first, second = (scorer.for_tuning(work(f"job/{number}", f"run/{number}")) for number in (0, 1))
    assert first._kept is second._kept
    assert first._kept is not None
    assert first._kept.has_room
    other = scorer.for_tuning(work("other", "another"))
    assert other._kept is not first._kept


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
