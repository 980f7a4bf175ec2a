"""The examples that a search for shortcuts judges by, of one run or two: activations, and the model's answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from skilljobs.analysis.ablation_effects import AblatedScores
from skilljobs.analysis.half_examples import Array, Halves
from skilljobs.analysis.neurons_in_question import QuestionedNeuron
from skilljobs.analysis.property_findings import Answers
from skilljobs.errors import JobFailed
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.neuron_tracing import trace_neurons
from skilljobs.pipeline.silencing import Silencing
from skilljobs.store.ablations import NeuronSet, read_ablated
from skilljobs.store.shortcut_files import SilencedStep


@dataclass
class SearchFiles:
    """What a search depends on or has written, for its record: names in the run, and silenced steps by folder."""

    names: list[str] = field(default_factory=list)
    steps: dict[str, SilencedStep] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplePart:
    """The examples of one run: its `halves`, and what silences neurons there in the step of a name.

    `within` is the folder of that run in the run that is searched, empty for that run itself.
    """

    halves: Halves
    silencing: Callable[[str], Silencing]
    within: str = ""

    def named(self, name: str) -> str:
        """A file of this run, from the run that is searched."""
        return f"{self.within}/{name}" if self.within else name


@dataclass(frozen=True)
class SearchSample:
    """Examples of both halves, which are those of `parts` one after another.

    `search` and `fingerprint` identify the search, and `steps` begins the names of its silenced steps.
    """

    halves: Halves
    parts: tuple[SamplePart, ...]
    search: str
    fingerprint: str
    files: SearchFiles
    steps: str = ""

    def traced(self, neurons: Sequence[QuestionedNeuron]) -> tuple[Array, Array]:
        """The activations of `neurons` over the examples of each half, examples x neurons."""
        named = stable_digest(self.fingerprint, *(traced for neuron in neurons for traced in neuron.traced)).hex()
        found: list[list[Array]] = [[], []]
        for part in self.parts:
            silencing = part.silencing(f"{self.steps}neurons")
            for half, values in zip(part.halves, found, strict=True):
                names, activations = trace_neurons(silencing, self.search, named, neurons, half.shards)
                self._note(part.named(name) for name in names)
                values.append(np.asarray(activations[half.places]))
        return np.concatenate(found[0]), np.concatenate(found[1])

    def answers(self, step: str, sets: Sequence[NeuronSet], population: str) -> Answers:
        """The answers on half 1 with nothing silenced, and then with each of `sets`; timed and shown as `step`.

        Raises:
            JobFailed: a shard could not be scored, or with nothing silenced the scores are not the run's.
        """
        everything = [NeuronSet(None, population, "none", 0, None, ()), *sets]
        found = [self._of_part(part, step, everything) for part in self.parts]
        chosen, margin = (np.concatenate([getattr(one, name) for one in found], 1) for name in ("chosen", "margin"))
        return Answers(chosen, margin)

    def _of_part(self, part: SamplePart, step: str, sets: Sequence[NeuronSet]) -> Answers:
        half, silencing = part.halves[1], part.silencing(f"{self.steps}{step}")
        used = silencing.prepare(sets)
        fingerprint = silencing.fingerprint(self.search, used)
        silencing.score(fingerprint, half.shards, len(sets), step)
        self._note(part.named(name) for name in used)
        self.files.steps[part.named(silencing.inside)] = SilencedStep(
            fingerprint=fingerprint, shards=half.shards, within=part.within
        )
        scores = AblatedScores.of(list(read_ablated(silencing.files.folder, silencing.inside, half.shards)), len(sets))
        silencing.difference(scores)
        names = [example.example_id for example in half.examples]
        if [scores.ids[place] for place in half.places] != names:
            raise JobFailed(f"the scores in {silencing.inside} are not of the examples of half 1")
        return Answers(scores.chosen[:, half.places], scores.values["margin"][:, half.places])

    def _note(self, names: Iterable[str]) -> None:
        self.files.names += [name for name in names if name not in self.files.names]
