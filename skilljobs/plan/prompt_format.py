"""How an example becomes the text that the model reads: worked examples in front of it, and the chat template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.row_reader import RowReader
from skilljobs.plan.shot_drawing import draw_shots
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example, Task, check_example
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.few_shot import Shots
from skilljobs.tasks.text_task import TextTask


class ChatFormat(Protocol):
    """A chat template. `answer_end` is the text that ends an answer; None for the tokenizer's end token."""

    @property
    def answer_end(self) -> str | None: ...

    def text(self, user: str, shots: Sequence[tuple[str, str]] = ()) -> str:
        """The conversation up to the assistant's answer.

        Raises:
            ValueError: the template does not take one of the texts.
        """
        ...

    def answer(self, text: str) -> str:
        """An answer as it stands in the conversation.

        Raises:
            ValueError: it cannot stand there.
        """
        ...


ChatReader = Callable[[ModelSource, str | None, str | None], ChatFormat]
"""Reads the chat template of a model, given the system text and what ends an answer. It needs transformers."""


@dataclass(frozen=True)
class PromptFormat:
    """What was done to the examples: the ids of the worked examples in front of each, and what ends an answer."""

    shots: tuple[str, ...]
    answer_end: str | None


def format_examples(
    spec: JobSpec, task: Task, source: ModelSource, reader: RowReader, read_chat: ChatReader | None
) -> PromptFormat:
    """Put all examples of `reader` into the form that the model reads, and set aside those that cannot be.

    The worked examples, and train examples of one unit with them, are not tuned on.

    Raises:
        InputError: there are too few train examples, or the model's chat template cannot be used.
    """
    chat: ChatFormat | None = None
    answer_end = spec.answer_end or task.answer_end
    if spec.chat:
        if isinstance(task, TextTask) and task.options.generate:
            raise InputError(
                "--chat is for texts that are there already, not for those that the model writes (--generate)"
            )
        assert read_chat is not None, "a job with --chat is planned by what can read chat templates"
        chat = read_chat(source, spec.system, spec.answer_end)
        answer_end = chat.answer_end
    shots = draw_shots(reader, spec.few_shot, spec.seed) if spec.few_shot else Shots(())
    if chat is None and not shots.examples:
        return PromptFormat((), answer_end)
    _leave_out_akin(reader, shots)
    reasons: dict[str, str] = {}

    def format_chunk(chunk: Chunk, kept: NDArray[np.bool_]) -> Chunk:
        if chat is None:
            return chunk.with_texts(list(map(shots.in_front_of, chunk.strings("text"))))
        formatted = list(chunk.examples)
        for place in np.flatnonzero(kept).tolist():
            try:
                formatted[place] = _in_chat(chunk.examples[place], shots, chat)
            except ValueError as error:
                reasons[chunk.examples[place].example_id] = str(error)
        return Chunk.of(formatted, chunk.numbers)

    reader.rewrite(format_chunk)
    reader.quarantine(reasons)
    return PromptFormat(tuple(shot.example_id for shot in shots.examples), answer_end)


def _leave_out_akin(reader: RowReader, shots: Shots) -> None:
    """Leave out the worked examples, and all of one unit with one of these."""
    units = shots.units
    for _, start, chunk in reader.located_chunks() if units else ():
        akin = [place for place, unit in enumerate(chunk.strings("unit")) if unit in units]
        reader.drop(start, np.array(akin, np.int64))


def _in_chat(example: Example, shots: Shots, chat: ChatFormat) -> Example:
    choices, target = example.choices, example.target
    in_chat = replace(
        example,
        text=chat.text(example.text, shots.turns),
        choices=None if choices is None else tuple(map(chat.answer, choices)),
        target=None if target is None else chat.answer(target),
    )
    return check_example(in_chat)  # two choices may differ in the white space alone
