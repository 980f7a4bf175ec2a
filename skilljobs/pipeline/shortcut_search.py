"""One search for shortcuts on the run of one soft prompt. What is committed is not made again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from skilljobs.analysis.ablation_cost import prompt_length
from skilljobs.analysis.ablation_sets import ReadNeurons
from skilljobs.analysis.half_examples import halves_of
from skilljobs.analysis.neurons_in_question import neurons_in_question
from skilljobs.analysis.shortcut_rows import table_of, untested_rows
from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.matched_run import MatchedRun
from skilljobs.pipeline.search_sample import SamplePart, SearchFiles, SearchSample
from skilljobs.pipeline.shortcut_judging import Judging
from skilljobs.pipeline.silencing import Silencing
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.reporter import Reporter
from skilljobs.properties.candidates import always_held, candidate_properties, untold
from skilljobs.properties.property import Property
from skilljobs.store.follow_up_schema import SHORTCUTS
from skilljobs.store.integrity import digests_of
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import write_parquet
from skilljobs.store.shortcut_files import (
    RECORD_NAME,
    ROWS_NAME,
    ShortcutsRecord,
    damaged_of_search,
    matched_folder,
    read_shortcuts,
    shortcut_ids,
    shortcuts_folder,
)


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
    _made: SearchFiles = field(default_factory=SearchFiles)

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
        first, second = halves = halves_of(self.run, self.spec)
        neurons = neurons_in_question(self.run, self.spec, prompt_length(self.run))
        everything = [*first.examples, *second.examples]
        always = always_held(everything, self.spec.property)
        for sentence in untold(everything, self.spec.property, always):
            self.reporter.note(sentence)
        self._singles.start()
        self._write(self._record(begun))
        part = SamplePart(halves, self._silencing)
        sample = SearchSample(halves, (part,), self.id, self._fingerprint, self._made)
        activations = sample.traced(neurons)
        for number, neuron in enumerate(neurons):
            if min(np.ptp(half[:, number]) for half in activations) == 0:
                self.reporter.note(f"the activation of neuron {neuron.name} is the same in all examples of a half")
        judging = Judging(self.spec, self._facts, neurons, lambda: self._read_neurons, self.reporter)
        rows = judging.judge(sample, activations, candidate_properties(first.examples, self.spec.property))
        if always and self._matched is not None:
            rows += self._matched.rows(always, judging, sample)
        elif always:
            reason = "it holds for nearly every example, so that only others can tell: --data FILE with such as lack it"
            for of in always:
                rows += untested_rows(self._facts, neurons, of, second, reason)
        write_parquet(self.files.folder, self._name(ROWS_NAME), [table_of(rows)], SHORTCUTS)
        self._made.names.append(self._name(ROWS_NAME))
        self._write(self._record(begun, always, is_complete=True))

    @cached_property
    def _matched(self) -> MatchedRun | None:
        """The matched examples of `--data`, if they are asked for."""
        if self.spec.data is None:
            return None
        inside = matched_folder(self.id)
        return MatchedRun(self.run, self.spec, inside, self.plan, self.workplace, self.reporter)

    @cached_property
    def _read_neurons(self) -> ReadNeurons:
        """All neurons with what they are matched by; the scorers are started."""
        return ReadNeurons(self.run, self._singles.output_norms())

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
            "seen_half1": bool(spec.neuron),
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

    def _record(self, begun: datetime, always: Sequence[Property] = (), is_complete: bool = False) -> ShortcutsRecord:
        stored = self._stored
        return ShortcutsRecord(
            shortcuts=self.id,
            created=stored.created if stored else begun.isoformat(timespec="seconds"),
            spec=self.spec.as_json(),
            fingerprint=self._fingerprint,
            files=digests_of(self.files.folder, self._made.names),
            silenced=self._made.steps,
            always=tuple(of.name for of in always),
            is_complete=is_complete,
            seconds=round((datetime.now(UTC) - begun).total_seconds(), 3),
        )

    def _write(self, record: ShortcutsRecord) -> None:
        self.files.folder.write(self._name(RECORD_NAME), record.to_bytes())

    @property
    def _fingerprint(self) -> str:
        return stable_digest(self.run.record.fingerprint.digest, self.id, size=16).hex()
