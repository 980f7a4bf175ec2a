"""A scorer holds a frozen model and does the work of any run that reads it, in a plain process or in an actor."""

import platform
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

import torch

from skilljobs.checkpoints.source import find_again
from skilljobs.errors import JobFailed
from skilljobs.lm.forward import score_batches
from skilljobs.lm.kept_texts import KeptTexts
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import no_prompt
from skilljobs.lm.ranks import ALONE, join
from skilljobs.lm.results import NOT_FINITE_ADVICE
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.vocabulary import token_effects
from skilljobs.lm.write import write_texts
from skilljobs.plan.ablation_work import AblationWork
from skilljobs.plan.versions import decisive_versions
from skilljobs.plan.work import LoadedModel, ModelSetup, RunWork, UnfitMachine
from skilljobs.stats.neurons import NeuronName
from skilljobs.tasks.base import Example
from skilljobs.worker.ablator import Ablator
from skilljobs.worker.effect_estimator import EffectEstimator
from skilljobs.worker.model_check import load_checked
from skilljobs.worker.prompt_tuner import PromptTuner
from skilljobs.worker.shard_scorer import ShardScorer

W = TypeVar("W")
EFFECTS_SHOWN = 20
"""Tokens listed that a neuron promotes, and as many that it suppresses."""


class Scorer:
    """Holds a frozen model, or as one of several ranks a part of it; tunes soft prompts of runs, and scores shards."""

    def __init__(self, setup: ModelSetup, rank: int = 0, meeting_point: str = "") -> None:
        """`meeting_point`: the file at which several ranks meet."""
        self.setup = setup
        self.ranks = join(rank, setup.ranks, meeting_point, setup.device) if setup.ranks > 1 else ALONE
        # One thread runs the model: OpenMP keeps a set of threads for each thread that calls it, and if these are more
        # than the CPUs they sleep between any two loops.
        self._computer = ThreadPoolExecutor(1, "computer", torch.set_num_threads, (setup.threads,))
        self._switching = Lock()
        self._workers: dict[Callable[..., Any], Any] = {}
        """What works for one run or ablation, of each kind the latest."""
        self._tuners: dict[str, PromptTuner] = {}
        self._kept_texts = KeptTexts(0)
        """What tunes prompts, by job: several prompts are tuned side by side."""

    @cached_property
    def lm(self) -> FrozenLM:
        """The model; loaded when it is first used."""
        setup = self.setup
        source = find_again(setup.source) if setup.on_other_machines else setup.source
        lm, _ = load_checked(source, setup.dtype, setup.device, setup.attention, setup.selection, self.ranks)
        return lm

    def load(self) -> LoadedModel | UnfitMachine:
        """Load the model, unless this machine does not see what it must."""
        missing = self.setup.landmarks.missing() if self.setup.landmarks else None
        if missing:
            return UnfitMachine(platform.node(), missing)
        self._computer.submit(lambda: self.lm).result()
        on_gpu = self.lm.device.type == "cuda"
        return LoadedModel(
            host=platform.node(),
            device_model=torch.cuda.get_device_name(self.lm.device) if on_gpu else _cpu_model(),
            versions=decisive_versions(),
            attention=self.lm.attention,
            reads_trees=self.lm.takes_trees(1),
            neurons=self.lm.neurons,
            parameters=self.lm.model.num_parameters(),
        )

    def for_run(self, work: RunWork) -> ShardScorer:
        """The scorer of one run's shards; that of the previous job is dropped."""
        return self._worker(ShardScorer, work)

    def for_tuning(self, work: RunWork) -> PromptTuner:
        """What works at the soft prompt of one run, or at one of several; those of other runs are dropped."""
        with self._switching:
            if work.job_id not in self._tuners:
                of_job = work.run_id.partition("/")[0]
                self._tuners = {
                    name: tuner for name, tuner in self._tuners.items() if tuner.work.run_id.partition("/")[0] == of_job
                }
                if not self._tuners:
                    self._kept_texts = KeptTexts.of(self.lm)
                self._tuners[work.job_id] = PromptTuner(self.lm, work, self._computer, self._kept_texts)
            return self._tuners[work.job_id]

    def for_ablation(self, work: AblationWork) -> Ablator:
        """What works for one ablation; that of the previous one is dropped."""
        return self._worker(Ablator, work)

    def for_effects(self, work: AblationWork) -> EffectEstimator:
        """What estimates effects for one job; that of the previous one is dropped."""
        return self._worker(EffectEstimator, work)

    def _worker(self, kind: Callable[[FrozenLM, Any, Executor], W], work: RunWork | AblationWork) -> W:
        with self._switching:
            current = self._workers.get(kind)
            if current is None or current.work.job_id != work.job_id:
                self._tuners.clear()
                self._kept_texts = KeptTexts(0)
                current = self._workers[kind] = kind(self.lm, work, self._computer)
            worker: W = current
            return worker

    def vocabulary(self, neurons: Sequence[NeuronName]) -> list[dict[str, Any]]:
        """The tokens that each neuron promotes and suppresses most: rows of `vocabulary.parquet`."""
        effects = self._computer.submit(token_effects, self.lm, neurons, EFFECTS_SHOWN).result()
        return [asdict(effect) for effect in effects]

    def write(self, requests: Sequence[str], seed: int) -> list[str]:
        """A text for each request, written by the model."""
        return self._computer.submit(write_texts, self.lm, requests, seed).result()

    def judge(self, questions: Sequence[Example], answer_end: str | None, batch_tokens: int) -> list[float]:
        """The probability of the first choice of each multiple-choice question, without a soft prompt."""
        return self._computer.submit(self._judge, questions, answer_end, batch_tokens).result()

    def _judge(self, questions: Sequence[Example], answer_end: str | None, batch_tokens: int) -> list[float]:
        tokenized = tokenize_for(self.lm, questions, answer_end)
        prompt = no_prompt(self.lm.width).vectors
        probabilities = [0.0] * len(questions)
        for indices, scored in score_batches(self.lm, prompt, tokenized, batch_tokens):
            if scored.not_finite:
                question = questions[indices[next(iter(scored.not_finite))]]
                raise JobFailed(f"the scores of the question {question.example_id!r} are not finite", NOT_FINITE_ADVICE)
            scores = answer_scores(scored, [tokenized[index] for index in indices])
            for index, score in zip(indices, scores, strict=True):
                assert score.choice_probabilities is not None
                probabilities[index] = score.choice_probabilities[0]
        return probabilities


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
