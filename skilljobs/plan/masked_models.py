"""What a job cannot do with a masked language model, and which of its examples such a model can read."""

from collections.abc import Callable, Mapping, Sequence

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.row_reader import RowReader
from skilljobs.spec import NO_PROMPT, JobSpec
from skilljobs.stats.answers import EXACT
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.text_task import TextTask

LabelReader = Callable[[ModelSource, Sequence[Example]], Mapping[str, str]]
"""Finds the examples that a masked language model cannot read, each with the reason. It needs transformers."""


def refuse_for_masked(spec: JobSpec, task: Task, source: ModelSource) -> None:
    """Refuse what a masked language model cannot do.

    Raises:
        InputError: the model is one, and the job wants that.
    """
    if not source.is_masked:
        return
    is_written = isinstance(task, TextTask) and task.options.generate
    for is_asked, option, reason in (
        (spec.soft_prompt == NO_PROMPT, "--soft-prompt none", "its neurons are read at a soft prompt"),
        (spec.chat, "--chat", "it has no turns of a chat"),
        (spec.answer_end is not None, "--answer-end", "its answer is one token at the mask token"),
        (EXACT in spec.metric, f"--metric {EXACT}", "it does not decode an answer"),
        (is_written, "--generate", "it does not write texts"),
    ):
        if is_asked:
            raise InputError(f"{option}: the model {source.name} is a masked language model, and {reason}")


def set_unreadable_aside(source: ModelSource, reader: RowReader, read_labels: LabelReader | None) -> None:
    """Set aside the examples that a masked language model cannot read; those of a causal model stay as they are.

    Raises:
        InputError: the model's tokenizer has no mask token.
    """
    if source.is_masked:
        assert read_labels is not None, "a job with a masked language model is planned by what reads its tokenizer"
        reader.quarantine(dict(read_labels(source, reader.examples)))
