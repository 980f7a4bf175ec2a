"""Texts that are written and graded before a job can be planned: in parts, each kept as soon as it is there."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skilljobs.engine.actor import start_scorer
from skilljobs.engine.cluster.capacity import Cluster, Placement, lay_out
from skilljobs.engine.data_options import task_options
from skilljobs.engine.grading import Grade, find_grade_function, length_point, points_of, questions_about
from skilljobs.engine.job import Reading, ScorerJob
from skilljobs.engine.plan import with_model
from skilljobs.engine.pool import ScorerPool
from skilljobs.engine.record import open_files
from skilljobs.engine.resolving import resolve_on
from skilljobs.engine.stages import timed
from skilljobs.errors import InputError, JobFailed
from skilljobs.hashing import stable_digest, stable_hash
from skilljobs.lm.source import ModelSource, find_model
from skilljobs.reporter import Reporter
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import Layout
from skilljobs.tasks.skillmix import SkillMix, check_request
from skilljobs.tasks.skills import SKILLS_FILE, skills_table

Row = dict[str, Any]

TEXTS_NAME = "texts.jsonl"
"""All texts with their grades: `--data` of other runs, so that nothing is written or paid for twice."""
ABOUT_NAME = "texts/about"
"""A digest of what the texts were asked of, so that a run is not resumed with other requests."""
WRITTEN_TOGETHER, GRADED_TOGETHER = 32, 8
"""Texts of a part."""


@dataclass(frozen=True)
class Workplace:
    """Where scorers are started, and how many."""

    cluster: Cluster
    placement: Placement


class TextWriter:
    """The texts of one run. Everything that can be refused is refused when it is made.

    Raises:
        InputError: the task has no texts to write; the model, the grader or the requests cannot be had; or the run
            holds texts of other requests.
    """

    def __init__(self, spec: JobSpec, uri: str) -> None:
        self.spec, task_class = with_model(spec)
        self.source = find_model(self.spec.model or "")
        task = task_class(task_options(self.spec, task_class))
        if not isinstance(task, SkillMix):
            raise InputError(f"--generate and --grader are not for the task {task.name}")
        self.task, self.folder = task, open_files(uri).folder
        self.rows: list[Row] = []
        ids: set[object] = set()
        for number, row in enumerate(task.texts(), start=1):
            row = {**row, "id": row.get("id") or f"{number:05d}"}
            try:
                check_request(row)
            except KeyError as error:
                raise InputError(f"{spec.data}: row {number} has no column {error}") from None
            except ValueError as error:
                raise InputError(f"{spec.data}: row {number}: {error}") from None
            if row["id"] in ids:
                raise InputError(f"{spec.data}: row {number}: its id {row['id']!r} is that of an earlier row")
            ids.add(row["id"])
            self.rows.append(row)
        self.grade: Grade | None = None
        self.judge: ModelSource | None = None
        if spec.grader is not None:
            self.grade = find_grade_function(spec.grader)
            self.judge = None if self.grade else find_model(spec.grader)
        if not spec.generate and any(row.get("text") is None for row in self.rows):
            raise InputError("--grader needs texts: let the model write them (--generate), or read them (--data FILE)")
        self._check_same()

    def draft_rows(self) -> list[Row]:
        """The rows with something in place of the texts and grades that they lack, to plan the job with."""
        drafts = []
        for number, row in enumerate(self.rows):
            draft = {**row, "text": row.get("text") or "..."}
            if self.spec.grader is not None and row.get("skill_points") is None:
                draft |= {"skill_points": [float((number + place) % 2) for place in range(len(row["skills"]))]}
                draft |= {"length_point": 1.0}
            drafts.append(draft)
        return drafts

    @property
    def done(self) -> bool:
        return self.folder.exists(TEXTS_NAME)

    def finished_rows(self) -> list[Row]:
        """All rows that got a text, with their grades where there is a grader."""
        return _rows(self.folder.read(TEXTS_NAME))

    def write(self, place: Workplace, reporter: Reporter) -> dict[str, float]:
        """Write and grade what is not yet. Returns the seconds that either took.

        Raises:
            JobFailed: a text could not be written or graded; what was is kept.
        """
        self.folder.write(ABOUT_NAME, self._about)
        self.folder.write(SKILLS_FILE, skills_table(self.task.skills.values()).encode())
        try:
            return self._write_and_grade(place, reporter)
        except JobFailed as error:
            raise JobFailed(
                f"{error}; what was written and graded is kept in {self.folder.uri}: the same command resumes"
            ) from error

    def _write_and_grade(self, place: Workplace, reporter: Reporter) -> dict[str, float]:
        seconds: dict[str, float] = {}
        if self.spec.generate:
            with timed(reporter, "write", len(self.rows)) as timing:
                self._write_all(place, reporter)
                empty = sum(not row["text"] for row in self.rows)
                left_out = f", {empty} left out: the model wrote nothing" if empty else ""
                timing.done(f"{len(self.rows) - empty} texts by {self.source.name}{left_out}")
            seconds["write"] = timing.seconds
            self.rows = [row for row in self.rows if row["text"]]
        if self.spec.grader is not None:
            with timed(reporter, "grade", len(self.rows)) as timing:
                self._grade_all(place, reporter)
                timing.done(f"{len(self.rows)} texts by {self.spec.grader}")
            seconds["grade"] = timing.seconds
        self.folder.write(TEXTS_NAME, _lines(self.rows))
        return seconds

    def _check_same(self) -> None:
        digest = self.source.digest if self.spec.generate else ""
        self._about = stable_digest(json.dumps(self.rows), self.spec.seed, digest, self.spec.grader).hex().encode()
        if self.folder.exists(ABOUT_NAME) and self.folder.read(ABOUT_NAME) != self._about:
            raise InputError(f"the run at {self.folder.uri} holds texts of other requests: use another --run-id")

    def _write_all(self, place: Workplace, reporter: Reporter) -> None:
        parts = _parts([row for row in self.rows if row.get("text") is None], WRITTEN_TOGETHER)
        requests = [[self.task.request(row["skills"], row["topic"]) for row in part] for part in parts]
        seeds = [stable_hash("write", self.spec.seed, part) % 2**31 for part in range(len(parts))]

        def call(actor: Any, part: int) -> Any:
            return actor.write.remote(part, requests[part], seeds[part])

        def written(missing: list[int]) -> Iterator[tuple[int, list[Row]]]:
            for part, texts in self._on_scorers(self.source, missing, call, place, reporter):
                of_part = zip(parts[part], texts, strict=True)
                yield part, [row | {"text": text, "writer": self.source.name} for row, text in of_part]

        self._keep("written", parts, written, reporter)

    def _grade_all(self, place: Workplace, reporter: Reporter) -> None:
        parts = _parts([row for row in self.rows if row.get("skill_points") is None], GRADED_TOGETHER)

        def graded(missing: list[int]) -> Iterator[tuple[int, list[Row]]]:
            for part, points in self._points(parts, missing, place, reporter):
                of_part = zip(parts[part], points, strict=True)
                about = {"grader": self.spec.grader}
                yield part, [row | {"skill_points": p, "length_point": length_point(row)} | about for row, p in of_part]

        self._keep("graded", parts, graded, reporter)

    def _keep(
        self,
        kind: str,
        parts: list[list[Row]],
        make: Callable[[list[int]], Iterator[tuple[int, list[Row]]]],
        reporter: Reporter,
    ) -> None:
        """Keep each part that `make` gives of those that are missing; then put them all into the rows."""
        missing = [part for part in range(len(parts)) if not self.folder.exists(_part_name(kind, part))]
        kept = sum(map(len, parts)) - sum(len(parts[part]) for part in missing)
        for part, rows in make(missing):
            self.folder.write(_part_name(kind, part), _lines(rows))
            kept += len(rows)
            reporter.advance(kept, "texts")
        stored = (_rows(self.folder.read(_part_name(kind, part))) for part in range(len(parts)))
        found = {row["id"]: row for rows in stored for row in rows}
        self.rows = [found.get(row["id"], row) for row in self.rows]

    def _points(
        self, parts: list[list[Row]], missing: list[int], place: Workplace, reporter: Reporter
    ) -> Iterator[tuple[int, list[list[float]]]]:
        """Parts and the points of each of their texts, as they come."""
        if self.grade is not None:
            for part in missing:
                yield part, [points_of(self.grade, row, self.spec.grader or "") for row in parts[part]]
            return
        assert self.judge is not None
        questions = [questions_about(self.task, part) for part in parts]

        def call(actor: Any, part: int) -> Any:
            return actor.judge.remote(part, questions[part])

        for part, probabilities in self._on_scorers(self.judge, missing, call, place, reporter):
            left = iter(probabilities)
            yield part, [[float(next(left) > 0.5) for _ in row["skills"]] for row in parts[part]]

    def _on_scorers(
        self,
        source: ModelSource,
        items: list[int],
        call: Callable[[Any, int], Any],
        place: Workplace,
        reporter: Reporter,
    ) -> Iterator[Any]:
        if not items:
            return
        numerics = resolve_on(place.cluster, self.spec, source, place.placement, reporter.note)
        layout = lay_out(place.cluster, numerics.replica, place.placement.replicas, len(items))
        job = ScorerJob(
            uri=self.folder.uri,
            run_id=self.folder.uri.rpartition("/")[2],
            spec=self.spec,
            source=source,
            reading=Reading(Layout((), (), {}), (), (), None),
            numerics=numerics,
            answer_end=self.task.answer_end,
            elsewhere=place.cluster.grows,
        )
        pool = ScorerPool(lambda name: start_scorer(name, job, layout), layout.count, reporter.note)
        try:
            yield from pool.map(items, call)
        finally:
            pool.close()


def _part_name(kind: str, part: int) -> str:
    return f"texts/{kind}-{part:05d}.jsonl"


def _parts(rows: Sequence[Row], size: int) -> list[list[Row]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _rows(data: bytes) -> list[Row]:
    return [json.loads(line) for line in data.decode().splitlines()]
