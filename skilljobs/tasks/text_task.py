"""Tasks whose texts are written by a model, and graded, before there are examples."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skilljobs.options import option
from skilljobs.tasks.base import Example, Task, TaskOptions

Row = dict[str, Any]


@dataclass(frozen=True)
class TextOptions(TaskOptions):
    """The options of every task that can have its texts written and graded."""

    generate: bool = option(False, "The model itself writes the texts.")
    grader: str | None = option(
        None, "What grades texts that have no grades.", metavar="MODEL-or-MODULE:FUNCTION", is_path=True
    )


class TextTask(Task):
    """A task that can ask a model for its texts, and ask for their grades.

    A row is a dictionary that can be written as JSON, with a unique `id`; `text` holds its text once there is one.
    `rows` uses `texts` in place of the task's own rows where they are set.
    """

    options_type = TextOptions
    options: TextOptions
    texts: Sequence[Mapping[str, Any]] | None = None
    """Rows that were written and graded for this job."""

    @abstractmethod
    def requests(self) -> list[Row]:
        """All rows, checked, with the texts and grades that they already have.

        Raises:
            InputError: a row does not ask for anything, or shares its id with another.
        """

    @abstractmethod
    def writing_prompt(self, row: Mapping[str, Any]) -> str:
        """The text after which the model writes the text of `row`."""

    @abstractmethod
    def is_graded(self, row: Mapping[str, Any]) -> bool:
        """Whether `row` has its grades."""

    @abstractmethod
    def grading_questions(self, row: Mapping[str, Any]) -> list[Example]:
        """The multiple-choice questions that a judge model answers about a text, with the affirmative choice first."""

    @abstractmethod
    def grade_by_function(self, function: Callable[..., Any], row: Mapping[str, Any]) -> list[float]:
        """The answers to the same questions by a user's function, each 0 or 1.

        Raises:
            ValueError: what the function returned is not that.
        """

    @abstractmethod
    def with_grades(self, row: Mapping[str, Any], points: Sequence[float]) -> Row:
        """`row` with the answers to its questions, each 0 or 1."""

    def draft(self, row: Mapping[str, Any], number: int) -> Row:
        """`row` with placeholders for the text and the grades that it lacks, so that the job can be planned first."""
        drafted = {**row, "text": row.get("text") or "..."}
        if self.options.grader is not None and not self.is_graded(row):
            questions = len(self.grading_questions(drafted))
            drafted = self.with_grades(drafted, [float((number + place) % 2) for place in range(questions)])
        return drafted

    def companion_files(self) -> dict[str, bytes]:
        """Files that must be in the same folder as the texts when another run reads these as `--data`, by name."""
        return {}
