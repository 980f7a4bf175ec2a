"""Judging candidate properties by a sample of examples: who follows them, and what silencing those neurons does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skilljobs.analysis.ablation_sets import ReadNeurons
from skilljobs.analysis.followed_properties import followed_properties
from skilljobs.analysis.half_examples import Array
from skilljobs.analysis.neurons_in_question import QuestionedNeuron
from skilljobs.analysis.property_effects import read_property
from skilljobs.analysis.property_findings import (
    Answers,
    Finding,
    Names,
    add_controls,
    add_silenced,
    first_finding,
    tell_apart,
)
from skilljobs.analysis.shortcut_rows import shortcut_rows
from skilljobs.pipeline.search_sample import SearchSample
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.properties.candidates import Candidate
from skilljobs.stats.controls import NEAREST, matched_controls, most_matched, shared_part
from skilljobs.store.ablations import NeuronSet


@dataclass
class Judging:
    """How properties are judged; `facts` are the columns that all rows share.

    `silenced` counts the properties whose neurons were silenced, in all samples: each might pass by chance.
    """

    spec: ShortcutsSpec
    facts: Mapping[str, Any]
    neurons: Sequence[QuestionedNeuron]
    read_neurons: Callable[[], ReadNeurons]
    reporter: Reporter
    silenced: int = 0

    def judge(
        self, sample: SearchSample, activations: tuple[Array, Array], candidates: Sequence[Candidate]
    ) -> list[dict[str, Any]]:
        """The rows of `candidates`, whose values are those on half 0 of `sample`.

        Raises:
            JobFailed: a shard could not be scored; what was committed is kept.
        """
        (first, second), seed = sample.halves, self.spec.seed
        with timed(self.reporter, "properties") as timing:
            followed = followed_properties(first, second, activations, candidates, seed)
            timing.summary = (
                f"{len(candidates)} candidates, found on {len(first.examples)} examples of half 0 and judged on"
                f" {len(second.examples)} of half 1: {int(followed.follows.any(0).sum())} are followed"
            )
        listed = [self._set([place]) for place in range(len(self.neurons))]
        singles = sample.answers("neurons", listed, self.spec.population)
        readings = [
            read_property(candidate.property, first, second, candidate.values, followed.values[:, place])
            for place, candidate in enumerate(followed.candidates)
        ]
        findings = {
            place: first_finding(
                readings[place], tuple(np.flatnonzero(followed.in_half0[:, place]).tolist()), singles, seed
            )
            for place in np.flatnonzero(followed.follows.any(0)).tolist()
        }
        self._silence(sample, [finding for finding in findings.values() if finding.is_open])
        tried = [finding for finding in findings.values() if finding.silenced is not None]
        self.silenced += len(tried)
        self._compare(sample, [finding for finding in tried if finding.may_be_shortcut])
        tell_apart(findings, followed, singles, seed)
        return shortcut_rows(self.facts, self.neurons, followed, readings, findings, second, activations[1], singles)

    def _set(self, places: Sequence[int], draw: int | None = None) -> NeuronSet:
        names = tuple(self.neurons[place].name for place in places)
        return NeuronSet(self.spec.metric, self.spec.population, "listed", len(names), draw, names)

    def _silence(self, sample: SearchSample, findings: Sequence[Finding]) -> None:
        """Silence the neurons that follow each property, and judge what that does."""
        distinct = list(dict.fromkeys(finding.neurons for finding in findings))
        if not distinct:
            return
        answers = sample.answers("followers", [self._set(places) for places in distinct], self.spec.population)
        before = Answers(answers.chosen[:1], answers.margin[:1])
        for finding in findings:
            row = 1 + distinct.index(finding.neurons)
            after = Answers(answers.chosen[row : row + 1], answers.margin[row : row + 1])
            add_silenced(finding, sample.halves[1], before, after, self.spec.seed)

    def _compare(self, sample: SearchSample, findings: Sequence[Finding]) -> None:
        """Compare what silencing does with random sets of the same kind."""
        distinct = list(dict.fromkeys(finding.neurons for finding in findings))
        if not distinct:
            return
        spec, read = self.spec, self.read_neurons()
        sets: list[NeuronSet] = []
        drawn: dict[Names, tuple[int, int, float]] = {}
        for places in distinct:
            chosen = [read.place(self.neurons[place].name) for place in places]
            controls = []
            if most_matched(chosen, read.traits) is None:
                draws = min(spec.draws, NEAREST) if len(chosen) == 1 else spec.draws
                controls = matched_controls(chosen, read.traits, draws, spec.seed)
            drawn[places] = (1 + len(sets), 1 + len(sets) + len(controls), shared_part(controls))
            sets += [
                NeuronSet(spec.metric, spec.population, "random", len(places), draw, read.names(control))
                for draw, control in enumerate(controls)
            ]
        answers = sample.answers("controls", sets, spec.population)
        before = Answers(answers.chosen[:1], answers.margin[:1])
        for finding in findings:
            start, end, shared = drawn[finding.neurons]
            controls_of = Answers(answers.chosen[start:end], answers.margin[start:end])
            add_controls(finding, before, controls_of, shared, self.silenced)
