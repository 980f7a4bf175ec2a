"""One search for shortcuts on the run of one soft prompt. What is committed is not made again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.ablation_cost import prompt_length
from skilljobs.analysis.ablation_effects import AblatedScores
from skilljobs.analysis.ablation_sets import ReadNeurons
from skilljobs.analysis.followed_properties import Followed, followed_properties
from skilljobs.analysis.half_examples import HalfExamples, halves_of
from skilljobs.analysis.neurons_in_question import QuestionedNeuron, neurons_in_question
from skilljobs.analysis.property_effects import read_property
from skilljobs.analysis.shortcut_rows import (
    Answers,
    Finding,
    Names,
    add_controls,
    add_silenced,
    first_finding,
    shortcut_rows,
    tell_apart,
)
from skilljobs.errors import InputError, JobFailed
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.neuron_tracing import trace_neurons
from skilljobs.pipeline.silencing import Silencing
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.properties.candidates import candidate_properties, constant_properties
from skilljobs.stats.controls import NEAREST, matched_controls, most_matched, shared_part
from skilljobs.store.ablations import NeuronSet, read_ablated
from skilljobs.store.follow_up_schema import SHORTCUTS
from skilljobs.store.integrity import digests_of
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import parquet_bytes
from skilljobs.store.shortcut_files import (
    RECORD_NAME,
    ROWS_NAME,
    ShortcutsRecord,
    SilencedStep,
    damaged_of_search,
    read_shortcuts,
    shortcut_ids,
    shortcuts_folder,
)

Array = NDArray[np.float64]


@dataclass
class ShortcutSearch:
    """A search on a run of one soft prompt; `prompt` is its number if it is one of several."""

    run: RunReader
    spec: ShortcutsSpec
    id: str
    plan: FinishedRun
    workplace: Workplace
    reporter: Reporter
    prompt: int | None = None
    _steps: dict[str, SilencedStep] = field(default_factory=dict)
    _files: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether it is complete, with all of its files as they were written."""
        record = self._stored
        return record is not None and record.is_complete and not damaged_of_search(self.files, record, thorough=True)

    @property
    def _stored(self) -> ShortcutsRecord | None:
        """The record, if there is one that can be read."""
        try:
            return read_shortcuts(self.files.folder, self.id) if self.id in shortcut_ids(self.files.folder) else None
        except InputError as error:
            self.reporter.note(f"{error}; it is written anew")
            return None

    def make(self) -> None:
        """Do what is left of it.

        Raises:
            InputError: the model or the machines do not fit the run, or there is nothing to look at.
            JobFailed: a shard could not be read or scored; what was committed is kept.
        """
        begun = datetime.now(UTC)
        first, second = halves_of(self.run, self.spec)
        neurons = neurons_in_question(self.run, self.spec, prompt_length(self.run))
        candidates = candidate_properties(first.examples, self.spec.property)
        self._singles.start()
        self._write(self._record(begun))
        activations = self._traced(neurons, first), self._traced(neurons, second)
        for number, neuron in enumerate(neurons):
            if min(np.ptp(half[:, number]) for half in activations) == 0:
                self.reporter.note(f"the activation of neuron {neuron.name} is the same in all examples of a half")
        with timed(self.reporter, "properties") as timing:
            followed = followed_properties(first, second, activations, candidates, self.spec.seed)
            timing.summary = (
                f"{len(candidates)} candidates, found on {len(first.examples)} examples of half 0 and judged on"
                f" {len(second.examples)} of half 1: {int(followed.follows.any(0).sum())} are followed"
            )
        listed = [self._set([place], neurons) for place in range(len(neurons))]
        singles = self._answers(self._singles, listed, second, "neurons")
        readings = [
            read_property(candidate.property, first, second, candidate.values, followed.values[:, place])
            for place, candidate in enumerate(followed.candidates)
        ]
        findings = {
            place: first_finding(readings[place], _followers(followed, place), singles, self.spec.seed)
            for place in np.flatnonzero(followed.follows.any(0)).tolist()
        }
        self._silence(neurons, second, [finding for finding in findings.values() if finding.is_open])
        left = [finding for finding in findings.values() if finding.silenced is not None and finding.may_be_shortcut]
        silenced = sum(finding.silenced is not None for finding in findings.values())
        self._compare(neurons, second, left, silenced)
        tell_apart(findings, followed, singles, self.spec.seed)
        rows = shortcut_rows(self._facts, neurons, followed, readings, findings, second, activations[1], singles)
        self.files.folder.write(self._name(ROWS_NAME), parquet_bytes([rows], SHORTCUTS))
        self._files.append(self._name(ROWS_NAME))
        self._write(
            self._record(begun, constant_properties([*first.examples, *second.examples], self.spec.property), True)
        )

    @cached_property
    def _singles(self) -> Silencing:
        """What scores each neuron by itself."""
        return self._silencing("neurons")

    @property
    def files(self) -> Any:
        """The run's files, whose record stays as it is."""
        return self._singles.files

    @property
    def _facts(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "shortcuts": self.id,
            "prompt": self.prompt,
            "metric": spec.metric,
            "population": spec.population,
        }

    def _name(self, file: str) -> str:
        return f"{shortcuts_folder(self.id)}/{file}"

    def _silencing(self, step: str) -> Silencing:
        spec = self.spec
        return Silencing(
            self.run,
            self._name(step),
            spec.rule,
            spec.at == "all",
            spec.seed,
            self.plan,
            self.workplace,
            self.reporter,
        )

    def _record(self, begun: datetime, always: Sequence[str] = (), is_complete: bool = False) -> ShortcutsRecord:
        stored = self._stored
        return ShortcutsRecord(
            shortcuts=self.id,
            created=stored.created if stored else begun.isoformat(timespec="seconds"),
            spec=self.spec.as_json(),
            fingerprint=self._fingerprint,
            files=digests_of(self.files.folder, self._files),
            silenced=self._steps,
            always=tuple(always),
            is_complete=is_complete,
            seconds=round((datetime.now(UTC) - begun).total_seconds(), 3),
        )

    def _write(self, record: ShortcutsRecord) -> None:
        self.files.folder.write(self._name(RECORD_NAME), record.to_bytes())

    @property
    def _fingerprint(self) -> str:
        return stable_digest(self.run.record.fingerprint.digest, self.id, size=16).hex()

    def _traced(self, neurons: Sequence[QuestionedNeuron], half: HalfExamples) -> Array:
        """The activations of `neurons` over the examples of a half, examples x neurons."""
        named = stable_digest(self._fingerprint, *(traced for neuron in neurons for traced in neuron.traced)).hex()
        names, values = trace_neurons(self._singles, self.id, named, neurons, half.shards)
        self._files += names
        return np.asarray(values[half.places])

    def _answers(self, silencing: Silencing, sets: Sequence[NeuronSet], half: HalfExamples, stage: str) -> Answers:
        """The answers on half 1 with nothing silenced, and then with each of `sets`."""
        everything = [NeuronSet(None, self.spec.population, "none", 0, None, ()), *sets]
        used = silencing.prepare(everything)
        fingerprint = silencing.fingerprint(self.id, used)
        silencing.score(fingerprint, half.shards, len(everything), stage)
        self._files += [name for name in used if name not in self._files]
        self._steps[silencing.inside] = SilencedStep(fingerprint=fingerprint, shards=half.shards)
        tables = list(read_ablated(self.files.folder, silencing.inside, half.shards))
        scores = AblatedScores.of(tables, len(everything))
        silencing.difference(scores)
        if [scores.ids[place] for place in half.places] != [example.example_id for example in half.examples]:
            raise JobFailed(f"the scores in {silencing.inside} are not of the examples of half 1")
        return Answers(scores.chosen[:, half.places], scores.values["margin"][:, half.places])

    def _set(self, places: Sequence[int], neurons: Sequence[QuestionedNeuron], draw: int | None = None) -> NeuronSet:
        names = tuple(neurons[place].name for place in places)
        return NeuronSet(self.spec.metric, self.spec.population, "listed", len(names), draw, names)

    def _silence(self, neurons: Sequence[QuestionedNeuron], half: HalfExamples, findings: Sequence[Finding]) -> None:
        """Silence the neurons that follow each property, and judge what that does."""
        distinct = list(dict.fromkeys(finding.neurons for finding in findings))
        if not distinct:
            return
        sets = [self._set(places, neurons) for places in distinct]
        answers = self._answers(self._silencing("followers"), sets, half, "silence")
        before = Answers(answers.chosen[:1], answers.margin[:1])
        for finding in findings:
            row = 1 + distinct.index(finding.neurons)
            after = Answers(answers.chosen[row : row + 1], answers.margin[row : row + 1])
            add_silenced(finding, half, before, after, self.spec.seed)

    def _compare(
        self, neurons: Sequence[QuestionedNeuron], half: HalfExamples, findings: Sequence[Finding], silenced: int
    ) -> None:
        """Compare what silencing does with random sets of the same kind."""
        distinct = list(dict.fromkeys(finding.neurons for finding in findings))
        if not distinct:
            return
        read = ReadNeurons(self.run, self._singles.output_norms())
        sets: list[NeuronSet] = []
        drawn: dict[Names, tuple[int, int, float]] = {}
        for places in distinct:
            chosen = [read.place(neurons[place].name) for place in places]
            controls = []
            if most_matched(chosen, read.traits) is None:
                draws = min(self.spec.draws, NEAREST) if len(chosen) == 1 else self.spec.draws
                controls = matched_controls(chosen, read.traits, draws, self.spec.seed)
            drawn[places] = (1 + len(sets), 1 + len(sets) + len(controls), shared_part(controls))
            sets += [
                NeuronSet(self.spec.metric, self.spec.population, "random", len(places), draw, read.names(control))
                for draw, control in enumerate(controls)
            ]
        answers = self._answers(self._silencing("controls"), sets, half, "controls")
        before = Answers(answers.chosen[:1], answers.margin[:1])
        for finding in findings:
            start, end, shared = drawn[finding.neurons]
            controls_of = Answers(answers.chosen[start:end], answers.margin[start:end])
            add_controls(finding, before, controls_of, shared, silenced)


def _followers(followed: Followed, place: int) -> Names:
    """The neurons that follow a property by half 0 alone."""
    return tuple(np.flatnonzero(followed.in_half0[:, place]).tolist())
