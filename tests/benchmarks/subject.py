"""What the benchmarks run: a model, a task's examples, and the collector that a scorer would use for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.lm.batch import TokenizedExample, tokenize
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt
from skilljobs.plan.capacity import this_machine
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.numerics import resolve_numerics
from skilljobs.plan.work import RunWork
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example
from skilljobs.worker.accumulator import SumsAccumulator
from skilljobs.worker.collector import Collector


@dataclass(frozen=True)
class Subject:
    plan: JobPlan
    collector: Collector
    examples: list[Example]
    tokenized: list[TokenizedExample]
    neuron_references: list[NDArray[np.float64]]
    metric_references: list[float]

    @classmethod
    def make(cls, spec: JobSpec) -> "Subject":
        """The test examples of a job, in the order of its shards, with a random prompt."""
        plan = plan_job(spec)
        numerics = resolve_numerics(plan.spec, plan.source, 0, this_machine())
        end, batch = plan.task.answer_end, (numerics.batch_tokens, numerics.batch_cost)
        work = RunWork("", "", "", plan.spec, plan.source.name, plan.reading, end, *batch)
        lm = FrozenLM(load_model(plan.source, numerics.dtype, "cpu"), load_tokenizer(plan.source))
        prompt = random_prompt(lm.embedding, lm.config.vocab_size, plan.spec.prompt_length, plan.spec.seed).vectors
        collector = Collector(lm, prompt.to(lm.dtype), work)
        tokenized = tokenize(lm.tokenizer, plan.test, plan.task.answer_end)
        references = collector.references(collector.prepare(plan.test, tokenized))
        return cls(plan, collector, list(plan.test), tokenized, *references)

    def collect(self, accumulator: SumsAccumulator, part: slice = slice(None)) -> None:
        """Add a part of the examples, as a scorer adds a shard."""
        shard = self.collector.prepare(self.examples[part], self.tokenized[part])
        self.collector.collect(shard, accumulator)

    def accumulator(self) -> SumsAccumulator:
        neurons = [torch.from_numpy(of_layer) for of_layer in self.neuron_references]
        return SumsAccumulator(self.plan.layout, neurons, torch.tensor(self.metric_references, dtype=torch.float64))


def model_spec(model: str, data: str | None, limit: int, batch_tokens: int | None = None) -> JobSpec:
    """Arithmetic, the real examples where `data` names them."""
    found = None if data is None else str(Path(data).resolve())
    return JobSpec(task="arithmetic", model=model, data=found, limit=limit, batch_tokens=batch_tokens)
