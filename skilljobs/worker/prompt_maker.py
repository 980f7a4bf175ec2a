"""Making the soft prompt of a run: tuned, resumably and with progress as it goes, or reused, or a baseline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.hashing import stable_hash
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.losses import accuracy
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import SoftPrompt, no_prompt, random_prompt, read_prompt_bytes
from skilljobs.lm.results import TuningPoint
from skilljobs.lm.tuner import Tuner, default_learning_rate
from skilljobs.lm.tuning_state import TuneSettings, TuningState
from skilljobs.plan.work import VALIDATION_EXAMPLES, LeftOut, PromptAccuracy, RunWork, most_tuning_steps
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.provenance import provenance_of
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME, TUNING_NAME, TUNING_STATE_NAME
from skilljobs.store.schema import TUNING, parquet_bytes
from skilljobs.tasks.base import Example


def draw_validation(examples: Sequence[Example]) -> list[Example]:
    """`VALIDATION_EXAMPLES` of the validation examples, drawn by a hash of their ids.

    The first rows of a file are no sample: in BIG-bench arithmetic they are all additions.
    """
    drawn = sorted(examples, key=lambda example: stable_hash("validation", example.example_id))
    return drawn[:VALIDATION_EXAMPLES]


PromptNews = TuningPoint | LeftOut | PromptAccuracy
"""What is told while a prompt is made."""


class PromptMaker:
    """Makes the soft prompt of one run, as its spec says."""

    def __init__(self, lm: FrozenLM, work: RunWork) -> None:
        self.lm, self.work = lm, work
        self.folder = Folder(work.uri)
        self._ids: dict[int, str] = {}
        """The id of the example of each tokenized one, by Python's `id` of that."""

    def make(self, reused: bytes | None) -> Iterator[PromptNews]:
        """Write the run's prompt: tuned, or `reused` (a safetensors file), or a baseline.

        Yields the points of the tuning curve and what is left out, and at the end the accuracy on validation examples
        before and after.
        """
        examples = self._tuning_examples()
        start = self._initial_prompt(reused)
        if self.work.spec.soft_prompt is None:
            yield from self._tune(start, examples)
            return
        share_right = accuracy(self.lm, start.vectors, examples["validation"], self.work.batch_tokens)
        self._write(PROMPT_NAME, start.to_bytes())
        yield PromptAccuracy(share_right, share_right)

    def _tune(self, start: SoftPrompt, examples: dict[str, list[TokenizedExample]]) -> Iterator[PromptNews]:
        spec = self.work.spec
        settings = TuneSettings(
            steps=most_tuning_steps(spec, len(examples["train"])),
            learning_rate=spec.learning_rate or default_learning_rate(self.lm),
            loss=spec.tune_loss,
            seed=spec.initial_prompt_seed,
            batch_tokens=self.work.batch_tokens,
        )
        state, points = self._stored_state() or (TuningState.start(start.vectors), [])
        about = provenance_of(self.folder)
        tuner, told = Tuner(self.lm, state, examples["train"], examples["validation"], settings), 0
        for point in tuner.run():
            if len(tuner.left_out) > told:
                yield LeftOut(tuple(self._ids[place] for place in list(tuner.left_out)[told:]))
                told = len(tuner.left_out)
            points = [p for p in points if (p.step, p.split) != (point.step, point.split)] + [point]
            if point.split == "validation":
                points.sort(key=lambda point: (point.step, point.split))
                self._write(TUNING_NAME, _points_bytes(points, about))
                self._write(TUNING_STATE_NAME, state.to_bytes())
            yield point
        metadata = {
            "model": self.work.model_name,
            "task": spec.task or "",
            "steps": str(state.best_step),
            "validation_loss": repr(state.best_loss),
            "learning_rate": repr(settings.learning_rate),
        }
        self._write(PROMPT_NAME, SoftPrompt(state.best, metadata).to_bytes())
        validated = {point.step: point.accuracy for point in points if point.split == "validation"}
        yield PromptAccuracy(validated[0], validated[state.best_step])

    def _write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Write a file of the run, which of several ranks one does."""
        if self.lm.ranks.is_first:
            self.folder.write(name, data)

    def _initial_prompt(self, reused: bytes | None) -> SoftPrompt:
        spec = self.work.spec
        if reused is not None:
            return read_prompt_bytes(reused)
        if spec.soft_prompt == NO_PROMPT:
            return no_prompt(self.lm.width)
        assert spec.soft_prompt in (None, RANDOM_PROMPT)
        vocabulary = min(self.lm.config.vocab_size, len(self.lm.tokenizer))
        return random_prompt(self.lm.embedding, vocabulary, spec.prompt_length, spec.initial_prompt_seed)

    def _tuning_examples(self) -> dict[str, list[TokenizedExample]]:
        examples = examples_from(self.folder.read(TUNING_EXAMPLES_NAME))
        train = [example for example in examples if example.split == "train"]
        validation = draw_validation([example for example in examples if example.split == "validation"])
        tokenized = {}
        for split, chosen in (("train", train), ("validation", validation)):
            tokenized[split] = tokenize_for(self.lm, chosen, self.work.answer_end, self.work.spec.chat)
            self._ids |= {id(tokens): e.example_id for tokens, e in zip(tokenized[split], chosen, strict=True)}
        return tokenized

    def _stored_state(self) -> tuple[TuningState, list[TuningPoint]] | None:
        if not (self.folder.exists(TUNING_STATE_NAME) and self.folder.exists(TUNING_NAME)):
            return None
        state = TuningState.from_bytes(self.folder.read(TUNING_STATE_NAME))
        with self.folder.open(TUNING_NAME) as file:
            points = [TuningPoint(**row) for row in pq.read_table(file).to_pylist()]
        return state, [point for point in points if point.step <= state.step]


def _points_bytes(points: list[TuningPoint], about: Mapping[str, str]) -> pa.Buffer:
    return parquet_bytes([pa.Table.from_pylist([asdict(point) for point in points], TUNING)], TUNING, about=about)
