"""Collecting where memory does not hold a batch whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from skilljobs.engine import collect
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import ScoredBatch, score_batch
from skilljobs.lm.source import TINY
from tests.benchmarks.subject import Subject, model_spec


def test_a_batch_too_large_is_scored_in_halves_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject.make(model_spec(TINY, None, 12))
    shard = subject.collector.prepare(subject.examples, subject.tokenized)
    whole, exact = subject.collector.collect(shard, subject.accumulator())
    assert exact

    def small_memory(lm: Any, prompt: Any, batch: Sequence[TokenizedExample], *rest: Any) -> ScoredBatch:
        if len(batch) > 3:
            raise torch.OutOfMemoryError("as if")
        return score_batch(lm, prompt, batch, *rest)

    monkeypatch.setattr(collect, "score_batch", small_memory)
    accumulator = subject.accumulator()
    parts, exact = subject.collector.collect(shard, accumulator)
    assert not exact
    assert int(accumulator.result().count[0]) == len(subject.examples)
    assert [score.confidence for score in parts] == pytest.approx([score.confidence for score in whole], abs=1e-5)
    neurons, metrics = subject.collector.references(shard)
    for found, expected in zip(neurons, subject.neuron_references, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert metrics == pytest.approx(subject.metric_references, abs=1e-5)
