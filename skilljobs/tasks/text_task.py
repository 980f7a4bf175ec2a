"""Tasks whose texts are written by a model and graded before there are examples."""

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
    """A task whose texts can be written by a model and then graded.

    A row is a dictionary that can be written as JSON and has a unique `id`; `text` holds its text once it is written.
    If `texts` is set, `rows` uses it in place of the task's own rows.
    """

    options_type = TextOptions
    options: TextOptions
    texts: Sequence[Mapping[str, Any]] | None = None
    """Rows that were written and graded for this job."""

    @abstractmethod
    def requests(self) -> list[Row]:
        """Return all rows, checked, with the texts and grades that they already have.

        Raises:
            InputError: a row does not ask for anything, or it has the same id as another row.
        """

    @abstractmethod
    def writing_prompt(self, row: Mapping[str, Any]) -> str:
        """Return the prompt after which the model writes the text of `row`."""

    @abstractmethod
    def is_graded(self, row: Mapping[str, Any]) -> bool:
        """Return whether `row` has its grades."""

    @abstractmethod
    def grading_questions(self, row: Mapping[str, Any]) -> list[Example]:
        """Return the multiple-choice questions about the text of `row` that a judge model answers.

        The affirmative choice is the first.
        """

    @abstractmethod
    def grade_by_function(self, function: Callable[..., Any], row: Mapping[str, Any]) -> list[float]:
        """Return the answers of a user's function to the same questions, each 0 or 1.

        Raises:
            ValueError: the function did not return 0 or 1 for each question.
        """

    @abstractmethod
    def with_grades(self, row: Mapping[str, Any], points: Sequence[float]) -> Row:
        """Return `row` with `points` as its grades: the answers to its questions, each 0 or 1."""

    def draft(self, row: Mapping[str, Any], number: int) -> Row:
        """Return `row` with placeholders for the text and the grades that it lacks.

        The job is planned with them before the texts are written. `number` varies the placeholder grades.
        """
        drafted = {**row, "text": row.get("text") or "..."}
        if self.options.grader is not None and not self.is_graded(row):
            questions = len(self.grading_questions(drafted))
            drafted = self.with_grades(drafted, [float((number + index) % 2) for index in range(questions)])
        return drafted

    def companion_files(self) -> dict[str, bytes]:
        """Return the contents of files by name.

        They must be in the same folder as the texts if another run is to read the texts as `--data`.
        """
        return {}
