"""Scoring the shards of one run: a shard number goes in, committed files and a receipt come out."""

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.lm.ranks import Ranks
from skilljobs.plan.work import RunWork
from skilljobs.stats.sums import ShardSums
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.provenance import provenance_of, without_names
from skilljobs.store.references import (
    METRICS_NAME,
    REFERENCE_NAME,
    metrics_bytes,
    read_references,
    reference_bytes,
)
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME
from skilljobs.store.shards import (
    Receipt,
    above_name,
    committed_receipt,
    examples_name,
    moments_file,
    moments_name,
    scores_digest,
    scores_file,
    scores_name,
    sha256,
    sums_file,
    sums_name,
)
from skilljobs.store.thresholds import THRESHOLDS_NAME, read_thresholds, threshold_bytes
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example
from skilljobs.worker.accumulator import SumsAccumulator
from skilljobs.worker.collector import Collected, Collector
from skilljobs.worker.prepared_shard import PreparedShard
from skilljobs.worker.taken_over import check_same_scores, take_over
from skilljobs.worker.threshold_counter import ThresholdCounter, mean_activations


@dataclass(frozen=True)
class WrittenSums:
    """What one rank wrote of a shard, by name with SHA-256; `moments` is the digest of the moments that it found."""

    files: dict[str, str]
    size: int
    moments: str
    peak_memory: int


class ShardScorer:
    """Reads the neurons of one run. The model runs in `computer`, which has one thread."""

    def __init__(self, lm: FrozenLM, work: RunWork, computer: Executor) -> None:
        self.lm, self.work = lm, work
        self.folder = Folder(work.uri)
        self._about = provenance_of(self.folder)
        self._computer = computer
        self._preparing = Lock()

    def make_references(self) -> None:
        """Write the references of neurons and metrics, from the first batch of shard 0."""
        examples, _ = self._read(0)
        shard = self.collector.prepare(examples, self._tokenize(examples))
        neurons, metrics = self._computer.submit(self.collector.references, shard).result()
        if self._ranks.are_several:
            neurons = joined(self._ranks.everyones((neurons, self._places)))
        if self._ranks.is_first:
            self.folder.write(
                METRICS_NAME, metrics_bytes(self.work.reading.layout, metrics, self.work.spec.units, self._about)
            )
            self.folder.write(
                REFERENCE_NAME,
                reference_bytes(neurons, self.lm.neurons, self._keeps_tokens, without_names(self._about)),
            )

    def make_thresholds(self) -> None:
        """Write the threshold of each neuron at each prompt position: its mean over the train examples."""
        examples = examples_from(self.folder.read(TUNING_EXAMPLES_NAME))
        tokenized = self._tokenize([example for example in examples if example.split == "train"])
        collector = self.collector
        means = self._computer.submit(
            mean_activations, self.lm, collector.prompt, tokenized, self.work.batch_tokens
        ).result()
        self.folder.write(THRESHOLDS_NAME, threshold_bytes(means, self.lm.neurons, without_names(self._about)))

    def score(self, shard: int, fingerprint: str, attempt: int = 0) -> Receipt:
        """Score a shard and commit it under `fingerprint`: sums and moments first, the scores file last.

        An attempt has files of its own, and returns the receipt of another one that was committed before it.
        May be called for two shards at once: one is read, prepared and written while the model runs the other. Of
        several ranks, each writes the sums of its own neurons, and the first commits once all have; they are called
        for one shard after another.

        Raises:
            JobFailed: the ranks have scored the shard differently.
        """
        examples, part = self._read(shard)
        with self._preparing:
            prepared = self.collector.prepare(examples, self._tokenize(examples))
        collected, fetch, fetch_counts, seconds = self._computer.submit(self._collect, prepared).result()
        scores = list(collected.scores.values())
        sums, reading = fetch(), self.work.reading
        if self.work.like is not None:
            sums = take_over(sums, reading.layout, self.work.like, shard)
        if not self._ranks.are_several and (committed := self._committed(shard, fingerprint, part)):
            return committed
        written = self._write_sums(shard, attempt, sums, fetch_counts() if fetch_counts else None)
        receipt = Receipt(
            shard=shard,
            half=examples[0].half,
            fingerprint=fingerprint,
            examples=len(examples),
            choices=sum(score.correct is not None for score in scores),
            right=sum(bool(score.correct) for score in scores),
            tokens=prepared.tokens + len(examples) * len(self.collector.prompt),
            seconds=seconds,
            bit_exact=collected.bit_exact,
            peak_memory_bytes=max(rank.peak_memory for rank in written),
            files={examples_name(shard): sha256(part)}
            | {name: digest for rank in written for name, digest in rank.files.items()},
            bytes_written=sum(rank.size for rank in written),
            set_aside={examples[place].example_id: layer for place, layer in collected.set_aside.items()},
        )
        if not self._ranks.is_first:
            return receipt
        ids = [examples[place].example_id for place in collected.scores]
        if committed := self._committed(shard, fingerprint, part):
            return committed
        data = scores_file(ids, scores, reading.choice_probabilities, receipt, reading.has_exact, self._about)
        if self.work.like is not None:
            check_same_scores(self.work.like, shard, scores_digest(data))
        self.folder.write(scores_name(shard), data)
        return receipt

    def trace(self, shard: int, neurons: Sequence[TracedNeuron]) -> NDArray[np.float64]:
        """The activations of `neurons` over the examples of a shard: examples x neurons."""
        examples, _ = self._read(shard)
        with self._preparing:
            tokenized = self._tokenize(examples)
        return self._computer.submit(self.collector.trace, tokenized, neurons).result()

    @cached_property
    def collector(self) -> Collector:
        """The model with the run's soft prompt."""
        vectors = read_prompt_bytes(self.folder.read(PROMPT_NAME)).vectors
        return Collector(self.lm, vectors.to(self.lm.device, self.lm.dtype), self.work)

    def _write_sums(self, shard: int, attempt: int, sums: ShardSums, counts: ShardSums | None) -> list[WrittenSums]:
        """Write this rank's sums, the first rank also the moments. Returns what each rank wrote, once all have.

        `counts` are of predictivity, for which there is one rank.
        """
        layout, neurons, ranks = self.work.reading.layout, self.lm.neurons, self._ranks
        tokens = self._references[0][0].shape[0] if self._keeps_tokens else None
        moments = moments_file(sums, layout, self._about)
        files = {}
        if not ranks.are_several:
            files[sums_name(shard, attempt)] = sums_file(sums, layout, neurons, tokens, None, self._about)
        elif any(map(len, self._places)):
            files[sums_name(shard, attempt, ranks.rank)] = sums_file(
                sums, layout, neurons, tokens, self._places, self._about
            )
        if ranks.is_first:
            files[moments_name(shard, attempt)] = moments
        if counts is not None and self.work.reading.counted:
            positions = max(1, len(self.collector.prompt))
            files[above_name(shard, attempt)] = sums_file(
                counts, self.work.reading.counted, neurons, positions, None, self._about
            )
        for name, data in files.items():
            self.folder.write(name, data)
        digests = {name: sha256(data) for name, data in files.items()}
        size = sum(memoryview(data).nbytes for data in files.values())
        written: list[WrittenSums] = ranks.everyones(WrittenSums(digests, size, sha256(moments), peak_memory()))
        if len({rank.moments for rank in written}) > 1:
            raise JobFailed(f"the ranks of a scorer have scored shard {shard} differently")
        return written

    @property
    def _ranks(self) -> Ranks:
        return self.lm.ranks

    @property
    def _places(self) -> list[NDArray[np.int64]]:
        """Of several ranks, the places of this one's neurons in arrays over a layer's."""
        return [layer.places for layer in self.lm.sites if layer.places is not None]

    @property
    def _keeps_tokens(self) -> bool:
        return self.work.spec.tokens == "each"

    @cached_property
    def _references(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        neurons, metrics = read_references(self.folder)
        if self._ranks.are_several:
            neurons = [layer[:, places] for layer, places in zip(neurons, self._places, strict=True)]
        return [torch.from_numpy(layer).to(self.lm.device) for layer in neurons], torch.from_numpy(metrics)

    def _read(self, shard: int) -> tuple[list[Example], bytes]:
        part = self.folder.read(examples_name(shard))
        return examples_from(part), part

    def _committed(self, shard: int, fingerprint: str, part: bytes) -> Receipt | None:
        """The receipt of another attempt at the same examples, if one is committed."""
        receipt = committed_receipt(self.folder, shard, fingerprint)
        return receipt if receipt and receipt.files.get(examples_name(shard)) == sha256(part) else None

    def _tokenize(self, examples: Sequence[Example]) -> list[TokenizedExample]:
        return tokenize_for(self.lm, examples, self.work.answer_end, self.work.spec.chat)

    @cached_property
    def _thresholds(self) -> list[torch.Tensor]:
        return [torch.from_numpy(layer).to(self.lm.device) for layer in read_thresholds(self.folder)]

    def _collect(
        self, prepared: PreparedShard
    ) -> tuple[Collected, Callable[[], ShardSums], Callable[[], ShardSums] | None, float]:
        """The scores and what was set aside, functions that wait for the sums and the counts, and seconds."""
        begun, reading = time.monotonic(), self.work.reading
        accumulator = SumsAccumulator(reading.layout, *self._references)
        counter = ThresholdCounter(reading, self._thresholds) if reading.yes_no else None
        collected = self.collector.collect(prepared, accumulator, counter)
        return collected, accumulator.fetch(), counter.fetch() if counter else None, time.monotonic() - begun


def joined(parts: Sequence[tuple[list[NDArray[np.float64]], list[NDArray[np.int64]]]]) -> list[NDArray[np.float64]]:
    """Arrays over all neurons of each layer (tokens x neurons), from those of each rank and the places of its own."""
    layers = []
    for number in range(len(parts[0][0])):
        values = np.concatenate([arrays[number] for arrays, _ in parts], 1)
        places = np.concatenate([found[number] for _, found in parts])
        layers.append(np.ascontiguousarray(values[:, np.argsort(places)]))
    return layers


def peak_memory() -> int:
    """The largest memory of this process so far, in bytes: of the GPU if one is used, otherwise resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
