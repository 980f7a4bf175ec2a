"""Tuning the soft prompts of one or several runs on the scorers of a pool, resumably and with progress."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.lm.prompt_file import prompt_bytes, prompt_vectors
from skilljobs.lm.results import TuningPoint
from skilljobs.lm.tuning_rounds import PromptStart
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.prompt_tuning import PartHalved, PromptTuning, TuningNews
from skilljobs.pipeline.tuning_pool import PooledTuning, answer_rounds
from skilljobs.plan.work import LeftOut, most_tuning_steps
from skilljobs.progress.reporter import measured
from skilljobs.store.provenance import provenance_of
from skilljobs.store.record import Accuracy
from skilljobs.store.run import PROMPT_NAME, TUNING_NAME, TUNING_STATE_NAME
from skilljobs.store.schema import TUNING, parquet_bytes
from skilljobs.store.tuning_state import TuningState

IDS_SHOWN = 3
STORE_SECONDS = 20.0
"""How much of tuning is lost at most if this process is killed, validations and the step in hand apart."""


def tune_prompts(jobs: Sequence[Job]) -> list[str]:
    """Tune the soft prompts of all jobs side by side. Returns a summary of one line for each.

    Raises:
        JobFailed: one could not be tuned; what was stored of all is kept.
    """

    def advance() -> None:
        shown = ", ".join(f"{one.validation_loss:.4f}" for one in tunings if one.validation_loss is not None)
        plural = "es" if len(jobs) > 1 else ""
        jobs[0].reporter.advance(sum(one.step for one in tunings), f"validation loss{plural} {shown}")

    tunings: list[RunTuning] = []
    for job in jobs:
        tunings.append(RunTuning(job, start_prompt(job, None), advance))
    pool = jobs[0].workplace.pool
    answer_rounds(pool, [PooledTuning(one.tuning.rounds(), one.job.work) for one in tunings])
    return [one.finish() for one in tunings]


def start_prompt(job: Job, reused: bytes | None) -> PromptStart:
    """The soft prompt of a job as it is before it is tuned, as `reused`, or as a baseline; made by one scorer."""
    found: list[PromptStart] = []
    job.workplace.pool.run_on_one(lambda actor: [actor.start_prompt.remote(job.work, reused)], found.append)
    return found[-1]


class RunTuning:
    """The tuning of one run's soft prompt: its state and curve are in the run's directory."""

    def __init__(self, job: Job, start: PromptStart, on_progress: Callable[[], None]) -> None:
        self.job, self._start, self._on_progress = job, start, on_progress
        self._folder = job.run.folder
        self._about = provenance_of(self._folder)
        self._number = job.run.record.run_id.partition("/")[2]
        self._group = f"prompt-{self._number}/tune" if self._number else "tune"
        self.left_out: list[str] = []
        state, self._points = self._stored() or (TuningState.start(prompt_vectors(start.prompt)), [])
        steps = most_tuning_steps(job.plan.spec, start.train)
        self.tuning = PromptTuning(state, steps, start.learning_rate, self._take, self._step_done)
        self._stored_at = time.monotonic()

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.tuning.state.step

    @property
    def validation_loss(self) -> float | None:
        """The last one; None before the first."""
        losses = [point.loss for point in self._points if point.split == "validation"]
        return losses[-1] if losses else None

    def finish(self) -> str:
        """Write the best prompt and record its accuracy. Returns what tuning did, in words."""
        spec, state, run = self.job.plan.spec, self.tuning.state, self.job.run
        metadata = {
            "model": self.job.work.model_name,
            "task": spec.task or "",
            "steps": str(state.best_step),
            "validation_loss": repr(state.best_loss),
            "learning_rate": repr(self._start.learning_rate),
        }
        self._folder.write(PROMPT_NAME, prompt_bytes(state.best, metadata))
        of_step = {point.step: point.accuracy for point in self._points if point.split == "validation"}
        summary = record_accuracy(self.job, of_step[0], of_step[state.best_step])
        run.folder.delete(TUNING_STATE_NAME)
        return f"{summary}; left out as not finite: {_listed(self.left_out)}" if self.left_out else summary

    def _take(self, news: TuningNews) -> None:
        of = f"tune, prompt {self._number}" if self._number else "tune"
        if isinstance(news, LeftOut):
            self.left_out += news.example_ids
            self.job.reporter.note(f"{of}: {_listed(news.example_ids)} left out, the loss is not finite")
            return
        if isinstance(news, PartHalved):
            self.job.reporter.note(
                f"{of}: memory does not hold a part of step {news.step} whole: the last digits of the prompt depend on"
                " how it is halved"
            )
            return
        kept = [point for point in self._points if (point.step, point.split) != (news.step, news.split)]
        self._points = [*kept, news]
        values = {f"{self._group}/{news.split}_loss": news.loss, f"{self._group}/{news.split}_accuracy": news.accuracy}
        measured(self.job.reporter, values, news.step)
        if news.split == "validation":
            self._points.sort(key=lambda point: (point.step, point.split))
            self._folder.write(TUNING_NAME, _points_bytes(self._points, self._about))
            self._store()
            self._on_progress()

    def _step_done(self) -> None:
        if time.monotonic() - self._stored_at > STORE_SECONDS:
            self._store()
        self._on_progress()

    def _store(self) -> None:
        self._folder.write(TUNING_STATE_NAME, self.tuning.state.to_bytes())
        self._stored_at = time.monotonic()

    def _stored(self) -> tuple[TuningState, list[TuningPoint]] | None:
        if not (self._folder.exists(TUNING_STATE_NAME) and self._folder.exists(TUNING_NAME)):
            return None
        try:
            state = TuningState.from_bytes(self._folder.read(TUNING_STATE_NAME))
            with self._folder.open(TUNING_NAME) as file:
                points = [TuningPoint(**row) for row in pq.read_table(file).to_pylist()]
        except (ValueError, TypeError, pa.ArrowException):
            self.job.reporter.note(
                f"tune: {TUNING_STATE_NAME} or {TUNING_NAME} is damaged, or of another version of skilljobs: tuning"
                " begins again"
            )
            return None
        return state, [point for point in points if point.step <= state.step]


def record_accuracy(job: Job, before: float | None, after: float | None) -> str:
    """Record the accuracy on validation examples before and after tuning. Returns it in words."""
    job.run.record_accuracy(Accuracy(before=before, after=after))
    before_words, after_words = ("-" if value is None else f"{value:.3f}" for value in (before, after))
    return f"validation accuracy {before_words} before, {after_words} after"


def _points_bytes(points: Sequence[TuningPoint], about: Mapping[str, str]) -> pa.Buffer:
    return parquet_bytes([pa.Table.from_pylist([asdict(point) for point in points], TUNING)], TUNING, about=about)


def _listed(example_ids: Sequence[str]) -> str:
    more = f" and {len(example_ids) - IDS_SHOWN} more" if len(example_ids) > IDS_SHOWN else ""
    return f"{', '.join(example_ids[:IDS_SHOWN])}{more}"
