"""What a scorer actor does: it holds model and prompt; a shard number goes in, committed files and a receipt come out.

Imports no Ray, so that the same work runs in a plain process.
"""

import platform
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.engine.collect import Collector
from skilljobs.engine.job import ScorerJob
from skilljobs.engine.prepared import PreparedShard
from skilljobs.engine.versions import decisive_versions
from skilljobs.lm.batch import tokenize
from skilljobs.lm.forward import score_batches
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import no_prompt, read_prompt_bytes
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.source import find_again
from skilljobs.lm.vocabulary import token_effects
from skilljobs.lm.write import write_texts
from skilljobs.stats.answers import AnswerScores
from skilljobs.stats.sums import Sums, SumsAccumulator
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.reference import METRICS_NAME, REFERENCE_NAME, metrics_bytes, read_references, reference_bytes
from skilljobs.store.run import PROMPT_NAME
from skilljobs.store.shards import (
    Receipt,
    examples_name,
    moments_bytes,
    moments_name,
    scores_bytes,
    scores_name,
    sha256,
    sums_bytes,
    sums_name,
)
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example

EFFECTS_SHOWN = 20
"""Tokens that a neuron promotes, and as many that it suppresses."""


class Scorer:
    """Holds a frozen model; tunes its prompt, makes the references, and scores shards."""

    def __init__(self, job: ScorerJob) -> None:
        self.job = job
        self.folder = Folder(job.uri)
        self._preparing = Lock()
        self._computer = ThreadPoolExecutor(1, "computer", torch.set_num_threads, (job.numerics.threads,))
        """The one thread that the model works in. OpenMP keeps threads for each that asks, and where these are more
        than the CPUs they sleep between any two loops."""
        self._collector: Collector | None = None
        self._references: tuple[list[torch.Tensor], torch.Tensor] | None = None

    @cached_property
    def lm(self) -> FrozenLM:
        numerics = self.job.numerics
        source = find_again(self.job.source) if self.job.elsewhere else self.job.source
        model = load_model(source, numerics.dtype, numerics.device, numerics.attention)
        return FrozenLM(model, load_tokenizer(source))

    def load(self) -> dict[str, Any]:
        """Load the model. Says on what device and with which versions, and how large the model is.

        Where the machine does not see run or model, only that.
        """
        unseen = self.job.landmarks.unseen() if self.job.landmarks else None
        if unseen:
            return {"host": platform.node(), "unseen": unseen}
        self._computer.submit(lambda: self.lm).result()
        on_gpu = self.lm.device.type == "cuda"
        alike = decisive_versions()
        device = torch.cuda.get_device_name(self.lm.device) if on_gpu else _cpu_model()
        return {
            "host": platform.node(),
            "alike": alike | {"device": device},
            "device_model": device,
            "versions": {name: alike[name] for name in ("torch", "transformers")},
            "reads_trees": self.lm.takes_trees(1),
            "neurons_per_layer": self.lm.neurons_per_layer,
            "parameters": self.lm.model.num_parameters(),
        }

    def make_references(self) -> None:
        """Write the references of neurons and metrics, from the first batch of shard 0."""
        examples = examples_from(self.folder.read(examples_name(0)))
        tokenized = tokenize(self.lm.tokenizer, examples, self.job.answer_end)
        shard = self.collector.prepare(examples, tokenized)
        neurons, metrics = self._computer.submit(self.collector.references, shard).result()
        self.folder.write(METRICS_NAME, metrics_bytes(self.job.reading.layout, metrics))
        self.folder.write(REFERENCE_NAME, reference_bytes(neurons, self.job.spec.tokens == "each"))

    def score(self, shard: int, fingerprint: str) -> Receipt:
        """Score a shard and commit it under `fingerprint`: sums and moments first, the scores file last.

        May be called for two shards at once: one is read, prepared and written while the other computes.
        """
        part = self.folder.read(examples_name(shard))
        examples = examples_from(part)
        with self._preparing:
            tokenized = tokenize(self.lm.tokenizer, examples, self.job.answer_end)
            prepared = self.collector.prepare(examples, tokenized)
        scores, exact, fetched, seconds = self._computer.submit(self._collect, prepared).result()
        sums, layout = fetched(), self.job.reading.layout
        tokens_kept = self.references[0][0].shape[0]
        files = {
            sums_name(shard): sums_bytes(sums, layout, tokens_kept, self.job.spec.tokens == "each"),
            moments_name(shard): moments_bytes(sums, layout),
        }
        for name, data in files.items():
            self.folder.write(name, data)
        receipt = Receipt(
            shard=shard,
            half=examples[0].half,
            fingerprint=fingerprint,
            examples=len(examples),
            choices=sum(score.correct is not None for score in scores),
            right=sum(bool(score.correct) for score in scores),
            tokens=prepared.tokens + len(examples) * len(self.collector.prompt),
            seconds=seconds,
            bit_exact=exact,
            peak_memory_bytes=peak_memory(),
            files={examples_name(shard): sha256(part)} | {name: sha256(data) for name, data in files.items()},
            bytes_written=sum(memoryview(data).nbytes for data in files.values()),
        )
        ids, of_choices = [example.example_id for example in examples], self.job.reading.of_choices
        self.folder.write(scores_name(shard), scores_bytes(ids, scores, of_choices, receipt))
        return receipt

    def _collect(self, prepared: PreparedShard) -> tuple[list[AnswerScores], bool, Callable[[], Sums], float]:
        """Scores, whether all batches fitted whole, what waits for the sums, and seconds."""
        begun = time.monotonic()
        accumulator = SumsAccumulator(self.job.reading.layout, *self.references)
        scores, exact = self.collector.collect(prepared, accumulator)
        return scores, exact, accumulator.fetch(), time.monotonic() - begun

    def trace(self, shard: int, neurons: Sequence[TracedNeuron]) -> NDArray[np.float64]:
        """The activations of `neurons` over the examples of a shard: examples x neurons."""
        examples = examples_from(self.folder.read(examples_name(shard)))
        with self._preparing:
            tokenized = tokenize(self.lm.tokenizer, examples, self.job.answer_end)
        return self._computer.submit(self.collector.trace, tokenized, neurons).result()

    def vocabulary(self, neurons: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """The tokens that each (layer, neuron) promotes and suppresses most: rows of `vocabulary.parquet`."""
        effects = self._computer.submit(token_effects, self.lm, neurons, EFFECTS_SHOWN).result()
        return [asdict(effect) for effect in effects]

    def write(self, requests: Sequence[str], seed: int) -> list[str]:
        """A text for each request, written by the model."""
        return self._computer.submit(write_texts, self.lm, requests, seed).result()

    def judge(self, questions: Sequence[Example]) -> list[float]:
        """Of each multiple-choice question the probability of its first choice, with no soft prompt."""
        return self._computer.submit(self._judge, questions).result()

    def _judge(self, questions: Sequence[Example]) -> list[float]:
        tokenized = tokenize(self.lm.tokenizer, questions, self.job.answer_end)
        prompt = no_prompt(self.lm.width).vectors
        found = [0.0] * len(questions)
        for places, scored in score_batches(self.lm, prompt, tokenized, self.job.numerics.batch_tokens):
            scores = answer_scores(scored, [tokenized[place] for place in places])
            for place, score in zip(places, scores, strict=True):
                assert score.choice_probabilities is not None
                found[place] = score.choice_probabilities[0]
        return found

    @property
    def collector(self) -> Collector:
        if self._collector is None:
            vectors = read_prompt_bytes(self.folder.read(PROMPT_NAME)).vectors
            prompt = vectors.to(self.lm.device, self.lm.dtype)
            self._collector = Collector(self.lm, prompt, self.job)
        return self._collector

    @property
    def references(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        if self._references is None:
            neurons, metrics = read_references(self.folder)
            on_device = [torch.from_numpy(layer).to(self.lm.device) for layer in neurons]
            self._references = on_device, torch.from_numpy(metrics)
        return self._references


def peak_memory() -> int:
    """Largest memory of this process so far, in bytes: of the GPU where one is used, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
