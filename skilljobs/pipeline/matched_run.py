"""Judging what nearly every example of a run has, beside the matched examples of `--data`.

These are read by a run of their own inside the search, on the scorers that the search has: the same task, texts, soft
prompt and numerics. Where neurons are silenced to their mean, it lies midway between the means of both runs: the mean
of the run alone would be what a neuron that follows the property has there anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skilljobs.analysis.half_examples import Array, Halves, read_half
from skilljobs.analysis.matched_examples import MatchedHalves
from skilljobs.analysis.shortcut_rows import untested_rows
from skilljobs.errors import JobFailed
from skilljobs.pipeline.collect_stage import Collect
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.opening import open_run
from skilljobs.pipeline.prepare_stage import Prepare
from skilljobs.pipeline.reference_stage import Reference
from skilljobs.pipeline.run_job import read_chat
from skilljobs.pipeline.run_stages import run_stages
from skilljobs.pipeline.search_sample import SamplePart, SearchSample
from skilljobs.pipeline.shortcut_judging import Judging
from skilljobs.pipeline.silencing import Silencing
from skilljobs.pipeline.stages import names_of
from skilljobs.pipeline.tune_stage import Tune
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.plan.matched_spec import plan_matched
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.reporter import Reporter
from skilljobs.properties.candidates import Candidate, told_apart
from skilljobs.properties.property import Property, values_of
from skilljobs.stats.layout import ALL
from skilljobs.store.position_means import MEANS_NAME, StoredSums, read_sums, sums_bytes
from skilljobs.store.reader import RunReader

STAGES = (Prepare(), Tune(), Reference(), Collect())
MIDWAY_NAME = "means.parquet"
STEPS = "matched-"


@dataclass
class MatchedRun:
    """The matched examples of a search on `run`, in its folder `inside`."""

    run: RunReader
    spec: ShortcutsSpec
    inside: str
    plan: FinishedRun
    workplace: Workplace
    reporter: Reporter

    def rows(self, always: Sequence[Property], judging: Judging, sample: SearchSample) -> list[dict[str, Any]]:
        """The rows of the properties `always`, which nearly all examples of `sample` (of the run) have.

        Raises:
            InputError: the data or the machines do not fit the run.
            JobFailed: a shard could not be scored; what was committed is kept.
        """
        (own,) = sample.parts
        halves = self._collected()
        matched = MatchedHalves.of(own.halves, halves, list(self.run.record.groups))
        parts = (
            replace(own, silencing=lambda step: self._midway(own.silencing(step))),
            SamplePart(halves, lambda step: self._midway(self._of_matched(own.silencing(step))), self.inside),
        )
        everything = replace(sample, parts=parts, steps=STEPS)
        if own.silencing("").rule.baseline == "mean":
            self._write_midway(own.silencing(""))
        candidates = told_apart(always, [*matched.across[0].examples, *matched.across[1].examples])
        first = [self._on(candidate, matched.across) for candidate in candidates]
        among = [candidate for candidate in first if matched.tells(candidate)]
        against = [candidate for candidate in first if matched.is_enough(candidate) and not matched.tells(candidate)]
        rows: list[dict[str, Any]] = []
        activations: tuple[Array, Array] | None = None
        for compared, of_both, name in ((among, matched.within, "among"), (against, matched.across, "with")):
            if compared:
                here = replace(everything, halves=of_both, steps=f"{STEPS}{name}-")
                activations = activations or here.traced(judging.neurons)
                found = judging.judge(here, activations, compared)
                rows += [_explained(row, self._file, name) for row in found]
        told = {name for of in (*among, *against) for name in (of.property.name, *of.alike)}
        for of in always:
            if of.name not in told:
                reason = f"it holds for nearly every example, and for nearly all of {self._file} too"
                rows += untested_rows(judging.facts, judging.neurons, of, own.halves[1], reason)
        return rows

    @property
    def _file(self) -> str:
        assert self.spec.data is not None
        return self.spec.data

    @cached_property
    def _reader(self) -> RunReader:
        return RunReader(f"{self.run.uri}/{self.inside}")

    def _collected(self) -> Halves:
        """The matched examples with their scores, which are collected unless that is done."""
        plan = plan_matched(self.run, self._file, self.spec.limit, read_chat)
        run = open_run(self._reader.uri, self.inside, plan, names_of(STAGES))
        self.workplace.share_numerics(self.run.record, run)
        run_stages(Job(plan, run, self.reporter, self.workplace), STAGES)
        self._reader.reload()
        first, second = (read_half(self._reader, half, self.spec.limit, None, ALL) for half in (0, 1))
        return first, second

    def _of_matched(self, own: Silencing) -> Silencing:
        """What `own` does in the run, in the run of the matched examples."""
        return replace(own, run=self._reader)

    def _midway(self, silencing: Silencing) -> Silencing:
        return replace(silencing, means=f"{self.inside}-{MIDWAY_NAME}" if silencing.run is self.run else MIDWAY_NAME)

    def _write_midway(self, own: Silencing) -> None:
        """Write the means midway between those of both runs, into each."""
        both = own, self._of_matched(own)
        sums = []
        for silencing in both:
            silencing.measure_means()
            digest = silencing.run.record.fingerprint.digest
            stored = read_sums(silencing.files.folder, MEANS_NAME, digest, "")
            if stored is None:
                raise JobFailed(f"{MEANS_NAME} in {silencing.run.uri} was damaged while it was read")
            sums.append(stored)
        midway = StoredSums(
            [(one + other) / 2 for one, other in zip(sums[0].means, sums[1].means, strict=True)],
            np.ones_like(sums[0].counts),
        )
        for silencing in both:
            record = silencing.run.record
            name = self._midway(silencing).means
            silencing.files.folder.write(name, sums_bytes(midway, record.neurons, record.fingerprint.digest, ""))

    def _on(self, candidate: Candidate, halves: Halves) -> Candidate:
        """The candidate with its values on half 0."""
        return replace(candidate, values=values_of([candidate.property], halves[0].examples)[:, 0])


def _explained(row: dict[str, Any], file: str, how: str) -> dict[str, Any]:
    """A row that says what it was judged by."""
    said = f"among the examples of {file} alone" if how == "among" else f"beside the examples of {file}, which lack it"
    return {**row, "compared_with": file, "reason": f"{said}: {row['reason']}"}
