"""Texts that are written and graded before a job can be planned: in parts, each kept as soon as it is finished."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.errors import InputError, JobFailed
from skilljobs.hashing import stable_digest, stable_hash
from skilljobs.pipeline.grading import GradeFunction, find_grade_function, grade
from skilljobs.plan.capacity import Cluster, Placement
from skilljobs.plan.chosen_model import chosen_model
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.spec import JobSpec
from skilljobs.store.files import Folder
from skilljobs.tasks.text_task import Row, TextTask
from skilljobs.uris import parent_and_name

if TYPE_CHECKING:
    from skilljobs.pipeline.text_scorers import TextScorers

TEXTS_NAME = "texts.jsonl"
"""All texts with their grades: other runs can read it as `--data`, so that nothing is written or paid for twice."""
REQUESTS_DIGEST_NAME = "texts/about"
"""A digest of what the texts were requested for, so that a run is not resumed with other requests."""
WRITTEN_TOGETHER, GRADED_TOGETHER = 32, 8
"""Texts in a part."""
Part = tuple[int, list[Row]]
PartMaker = Callable[[list[int]], Iterator[Part]]


class TextMaker:
    """The texts of one run. Everything that can be refused is refused when it is made.

    Raises:
        InputError: the model, the grader or the requests do not exist; or the run holds texts of other requests.
    """

    def __init__(self, spec: JobSpec, task: TextTask, folder: Folder) -> None:
        self.spec, self.task, self.folder = spec, task, folder
        self.grader = task.options.grader
        self.source = chosen_model(spec)
        self.rows = task.requests()
        self._grade_function: GradeFunction | None = None
        self._judge: ModelSource | None = None
        if self.grader is not None:
            self._grade_function = find_grade_function(self.grader)
            self._judge = None if self._grade_function else find_model(self.grader)
        if not task.options.generate and any(row.get("text") is None for row in self.rows):
            raise InputError("--grader needs texts: let the model write them (--generate), or read them (--data FILE)")
        model_digest = self.source.digest if task.options.generate else ""
        self._digest = stable_digest(json.dumps(self.rows), spec.seed, model_digest, self.grader).hex().encode()
        if folder.exists(REQUESTS_DIGEST_NAME) and folder.read(REQUESTS_DIGEST_NAME) != self._digest:
            raise InputError(f"the run at {folder.uri} holds texts of other requests: use another --run-id")

    def draft_rows(self) -> list[Row]:
        """The rows with placeholders for the texts and grades that they lack."""
        return [self.task.draft(row, number) for number, row in enumerate(self.rows)]

    @property
    def are_done(self) -> bool:
        """Whether all texts are written and graded."""
        return self.folder.exists(TEXTS_NAME)

    def finished_rows(self) -> list[Row]:
        """All rows that got a text, with their grades if there is a grader."""
        return _rows(self.folder.read(TEXTS_NAME))

    def make(self, cluster: Cluster, placement: Placement, reporter: Reporter) -> dict[str, float]:
        """Write and grade what is not written or graded yet, on the connected Ray. Returns the seconds that each took.

        Raises:
            JobFailed: a text could not be written or graded; what was finished is kept.
        """
        self.folder.write(REQUESTS_DIGEST_NAME, self._digest)
        for name, data in self.task.companion_files().items():
            self.folder.write(name, data)
        try:
            return self._write_and_grade(cluster, placement, reporter)
        except JobFailed as error:
            raise JobFailed(
                f"{error}; what was written and graded is kept in {self.folder.uri}: the same command resumes"
            ) from error

    def _write_and_grade(self, cluster: Cluster, placement: Placement, reporter: Reporter) -> dict[str, float]:
        from skilljobs.pipeline.text_scorers import TextScorers  # imports Ray

        scorers = TextScorers(self.spec, cluster, placement, parent_and_name(self.folder.uri)[1], reporter)
        seconds: dict[str, float] = {}
        if self.task.options.generate:
            with timed(reporter, "write", len(self.rows)) as timing:
                self._write_all(scorers, reporter)
                empty = sum(not row["text"] for row in self.rows)
                left_out = f", {empty} left out because the model wrote nothing" if empty else ""
                timing.summary = f"{len(self.rows) - empty} texts by {self.source.name}{left_out}"
            seconds["write"] = timing.seconds
            self.rows = [row for row in self.rows if row["text"]]
        if self.grader is not None:
            with timed(reporter, "grade", len(self.rows)) as timing:
                self._grade_all(scorers, reporter)
                timing.summary = f"{len(self.rows)} texts by {self.grader}"
            seconds["grade"] = timing.seconds
        self.folder.write(TEXTS_NAME, _lines(self.rows))
        return seconds

    def _write_all(self, scorers: "TextScorers", reporter: Reporter) -> None:
        parts = _parts([row for row in self.rows if row.get("text") is None], WRITTEN_TOGETHER)
        prompts = [[self.task.writing_prompt(row) for row in part] for part in parts]
        seeds = [stable_hash("write", self.spec.seed, part) % 2**31 for part in range(len(parts))]

        def call(actor: Any, part: int, batch_tokens: int) -> Any:
            return actor.write.remote(part, prompts[part], seeds[part])

        def written(missing: list[int]) -> Iterator[Part]:
            for part, texts in scorers.map(self.source, missing, call):
                with_texts = zip(parts[part], texts, strict=True)
                yield part, [row | {"text": text, "writer": self.source.name} for row, text in with_texts]

        self._keep("written", parts, written, reporter)

    def _grade_all(self, scorers: "TextScorers", reporter: Reporter) -> None:
        parts = _parts([row for row in self.rows if not self.task.is_graded(row)], GRADED_TOGETHER)

        def graded(missing: list[int]) -> Iterator[Part]:
            for part, points in self._points(parts, missing, scorers):
                with_points = zip(parts[part], points, strict=True)
                yield part, [self.task.with_grades(row, p) | {"grader": self.grader} for row, p in with_points]

        self._keep("graded", parts, graded, reporter)

    def _keep(self, kind: str, parts: list[list[Row]], make: PartMaker, reporter: Reporter) -> None:
        """Store each part that `make` gives of those that are missing; then put them all into the rows."""
        missing = [part for part in range(len(parts)) if not self.folder.exists(_part_name(kind, part))]
        kept = sum(map(len, parts)) - sum(len(parts[part]) for part in missing)
        for part, rows in make(missing):
            self.folder.write(_part_name(kind, part), _lines(rows))
            kept += len(rows)
            reporter.advance(kept, "texts")
        stored = (_rows(self.folder.read(_part_name(kind, part))) for part in range(len(parts)))
        finished = {row["id"]: row for rows in stored for row in rows}
        self.rows = [finished.get(row["id"], row) for row in self.rows]

    def _points(
        self, parts: list[list[Row]], missing: list[int], scorers: "TextScorers"
    ) -> Iterator[tuple[int, list[list[float]]]]:
        """Parts, and the points of each of their texts, as they come."""
        if self._grade_function is not None:
            for part in missing:
                yield part, [grade(self.task, self._grade_function, row, self.grader or "") for row in parts[part]]
            return
        assert self._judge is not None
        questions = [[self.task.grading_questions(row) for row in part] for part in parts]

        def call(actor: Any, part: int, batch_tokens: int) -> Any:
            asked = [question for row_questions in questions[part] for question in row_questions]
            return actor.judge.remote(part, asked, self.task.answer_end, batch_tokens)

        for part, probabilities in scorers.map(self._judge, missing, call):
            answers = iter(probabilities)
            yield part, [[float(next(answers) > 0.5) for _ in row_questions] for row_questions in questions[part]]


def _part_name(kind: str, part: int) -> str:
    return f"texts/{kind}-{part:05d}.jsonl"


def _parts(rows: Sequence[Row], size: int) -> list[list[Row]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _rows(data: bytes) -> list[Row]:
    return [json.loads(line) for line in data.decode().splitlines()]
