"""The tune stage as a scorer runs it: resumable, with progress as it goes."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet as pq

from skilljobs.engine.scorer import Scorer
from skilljobs.lm.batch import TokenizedExample, tokenize
from skilljobs.lm.losses import accuracy
from skilljobs.lm.prompt import SoftPrompt, no_prompt, random_prompt, read_prompt_bytes
from skilljobs.lm.tune import (
    VALIDATION_EXAMPLES,
    Tuner,
    TuneSettings,
    TuningPoint,
    TuningState,
    default_learning_rate,
)
from skilljobs.machine import available_cpus
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.examples import examples_from
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME, TUNING_NAME, TUNING_STATE_NAME
from skilljobs.store.schema import TUNING, parquet_bytes


class TuningScorer(Scorer):
    """A scorer that can also make the run's prompt."""

    def make_prompt(self, reused: bytes | None) -> Iterator[dict[str, Any]]:
        """Write the run's prompt: tuned, or `reused` (a safetensors file), or a baseline, as the spec says.

        Yields the points of the tuning curve, and at last the accuracy on validation examples before and after.
        All cores work on it, since the other scorers wait.
        """
        self._computer.submit(torch.set_num_threads, available_cpus()).result()
        try:
            points = self._make_prompt(reused)
            while (point := self._computer.submit(next, points, None).result()) is not None:
                yield point
        finally:
            self._computer.submit(torch.set_num_threads, self.job.numerics.threads).result()

    def _make_prompt(self, reused: bytes | None) -> Iterator[dict[str, Any]]:
        spec = self.job.spec
        examples = self._tuning_examples()
        start = self._initial_prompt(reused)
        if spec.soft_prompt is not None:
            validation = examples["validation"][:VALIDATION_EXAMPLES]
            right = accuracy(self.lm, start.vectors, validation, self.job.numerics.batch_tokens)
            self.folder.write(PROMPT_NAME, start.to_bytes())
            yield {"before": right, "after": right}
            return
        settings = TuneSettings(
            steps=spec.tune_steps,
            learning_rate=spec.learning_rate or default_learning_rate(self.lm),
            loss=spec.tune_loss,
            seed=spec.seed_of_prompt,
            batch_tokens=self.job.numerics.batch_tokens,
        )
        state, points = self._stored_state() or (TuningState.start(start.vectors), [])
        for point in Tuner(self.lm, state, examples["train"], examples["validation"], settings).run():
            points = [p for p in points if (p.step, p.split) != (point.step, point.split)] + [point]
            if point.split == "validation":
                points.sort(key=lambda point: (point.step, point.split))
                self.folder.write(TUNING_NAME, _points_bytes(points))
                self.folder.write(TUNING_STATE_NAME, state.to_bytes())
            yield asdict(point)
        metadata = {
            "model": self.job.source.name,
            "task": spec.task or "",
            "steps": str(state.best_step),
            "validation_loss": repr(state.best_loss),
            "learning_rate": repr(settings.learning_rate),
        }
        self.folder.write(PROMPT_NAME, SoftPrompt(state.best, metadata).to_bytes())
        validated = {point.step: point.accuracy for point in points if point.split == "validation"}
        yield {"before": validated[0], "after": validated[state.best_step]}

    def _initial_prompt(self, reused: bytes | None) -> SoftPrompt:
        spec = self.job.spec
        if reused is not None:
            return read_prompt_bytes(reused)
        if spec.soft_prompt == NO_PROMPT:
            return no_prompt(self.lm.width)
        assert spec.soft_prompt in (None, RANDOM_PROMPT)
        vocabulary = min(self.lm.config.vocab_size, len(self.lm.tokenizer))
        return random_prompt(self.lm.embedding, vocabulary, spec.prompt_length, spec.seed_of_prompt)

    def _tuning_examples(self) -> dict[str, list[TokenizedExample]]:
        examples = examples_from(self.folder.read(TUNING_EXAMPLES_NAME))
        return {
            split: tokenize(self.lm.tokenizer, [e for e in examples if e.split == split], self.job.answer_end)
            for split in ("train", "validation")
        }

    def _stored_state(self) -> tuple[TuningState, list[TuningPoint]] | None:
        if not (self.folder.exists(TUNING_STATE_NAME) and self.folder.exists(TUNING_NAME)):
            return None
        state = TuningState.from_bytes(self.folder.read(TUNING_STATE_NAME))
        with self.folder.open(TUNING_NAME) as file:
            points = [TuningPoint(**row) for row in pq.read_table(file).to_pylist()]
        return state, [point for point in points if point.step <= state.step]


def _points_bytes(points: list[TuningPoint]) -> pa.Buffer:
    return parquet_bytes([pa.Table.from_pylist([asdict(point) for point in points], TUNING)], TUNING)
