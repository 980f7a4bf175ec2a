"""One ablation of one run: its sets, means, shards and effects. What is there already is not made again."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.ablation_effects import AblatedScores, difference_without_change, effect_rows, groups_of
from skilljobs.analysis.ablation_sets import choose_sets
from skilljobs.errors import InputError, JobFailed
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.donors import choose_donors
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.ablation_work import AblationWork, ShardToAblate
from skilljobs.plan.finished_run import FinishedRun, answer_end_of
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.store.ablation_tables import is_intact
from skilljobs.store.ablations import (
    ABLATION_RECORD,
    EFFECTS_NAME,
    SETS_NAME,
    AblationRecord,
    ablation_folder,
    ablation_ids,
    committed_ablated,
    read_ablated,
    read_ablation,
    sets_bytes,
    sets_from,
)
from skilljobs.store.examples import examples_from
from skilljobs.store.finished import FinishedRunFiles
from skilljobs.store.integrity import digests_of
from skilljobs.store.position_means import MEANS_NAME, part_name, read_sums, sums_bytes
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import ABLATION, parquet_bytes
from skilljobs.store.shards import examples_name
from skilljobs.tasks.base import Example

TOLERANCE = {"float32": 1e-3}
"""How far scores may be from the run's with nothing silenced, relative to 1 + their size: rounding alone."""
TOLERANCE_BELOW = 0.2
"""The same in types of 16 bits."""


@dataclass
class Ablation:
    """An ablation of a run of one soft prompt; `prompt` is its number if it is one of several."""

    run: RunReader
    spec: AblationSpec
    id: str
    plan: FinishedRun
    workplace: Workplace
    reporter: Reporter
    prompt: int | None = None

    @cached_property
    def files(self) -> FinishedRunFiles:
        """The run's files, whose record stays as it is."""
        return FinishedRunFiles(self.run.uri)

    @property
    def is_done(self) -> bool:
        """Whether it is complete, with all of its files as they were written."""
        if self.id not in ablation_ids(self.files.folder):
            return False
        record = read_ablation(self.files.folder, self.id)
        return record.is_complete and is_intact(self.files, record, thorough=True)

    def make(self) -> None:
        """Do what is left of it.

        Raises:
            InputError: the model or the machines do not fit the run, or there are too few neurons.
            JobFailed: a shard could not be scored; what was committed is kept.
        """
        self.workplace.start_scorers(self.files, self.plan)
        folder, begun = self.files.folder, datetime.now(UTC)
        norms: list[list[NDArray[np.float64]]] = []
        self.workplace.pool.run_on_one(lambda actor: [actor.output_norms.remote(self.work)], norms.append)
        chosen = choose_sets(self.run, self.spec, norms[0])
        folder.write(self._name(SETS_NAME), sets_bytes(chosen.sets))
        used = [self._name(SETS_NAME)]
        if self.spec.rule.baseline == "mean":
            self._measure_means()
            used.append(MEANS_NAME)
        digests = digests_of(folder, used)
        parts = [self.run.record.fingerprint.digest, self.id, *(digest.sha256 for digest in digests.values())]
        record = AblationRecord(
            ablation=self.id,
            created=self._created or begun.isoformat(timespec="seconds"),
            spec=self.spec.as_json(),
            fingerprint=stable_digest(*parts, size=16).hex(),
            files=digests,
            shards=self.run.record.halves[1],
            shared=chosen.shared,
        )
        folder.write(self._name(ABLATION_RECORD), record.to_bytes())
        self._score_shards(record)
        self._conclude(record, (datetime.now(UTC) - begun).total_seconds())

    @cached_property
    def work(self) -> AblationWork:
        """What a scorer must know about it."""
        record = self.run.record
        assert record.numerics is not None
        return AblationWork(
            job_id=uuid.uuid4().hex,
            uri=self.run.uri,
            run_id=record.run_id,
            run_fingerprint=record.fingerprint.digest,
            ablation=self.id,
            rule=self.spec.rule,
            everywhere=self.spec.at == "all",
            texts_are_complete=record.job_spec.chat,
            answer_end=answer_end_of(record),
            batch_tokens=record.numerics.batch_tokens,
            left_out=frozenset(example.example_id for example in record.set_aside),
        )

    @property
    def _created(self) -> str | None:
        """When it was begun, if it was."""
        try:
            return read_ablation(self.files.folder, self.id).created
        except InputError:
            return None

    def _name(self, file: str) -> str:
        return f"{ablation_folder(self.id)}/{file}"

    def _digest_of_examples(self, shard: int) -> str:
        return self.run.record.stages["prepare"].files[examples_name(shard)].sha256

    def _examples(self, shards: Sequence[int]) -> list[Example]:
        folder, left_out = self.files.folder, self.work.left_out
        examples = (example for shard in shards for example in examples_from(folder.read(examples_name(shard))))
        return [example for example in examples if example.example_id not in left_out]

    def _measure_means(self) -> None:
        """Measure the mean of every neuron at each kind of position over half 0, unless that was done."""
        folder, run, shards = self.files.folder, self.run.record.fingerprint.digest, self.run.record.halves[0]
        if read_sums(folder, MEANS_NAME, run, "") is not None:
            return
        with timed(self.reporter, "means", len(shards)) as timing:
            found = {s: read_sums(folder, part_name(s), run, self._digest_of_examples(s)) for s in shards}
            missing = [shard for shard in shards if found[shard] is None]
            done = len(shards) - len(missing)
            for shard in self.workplace.pool.map(missing, lambda actor, s: actor.measure.remote(self.work, s)):
                found[shard] = read_sums(folder, part_name(shard), run, self._digest_of_examples(shard))
                done += 1
                self.reporter.advance(done, "shards of half 0")
            total = None
            for shard in shards:
                part = found[shard]
                if part is None:
                    raise JobFailed(f"the means of shard {shard} were damaged while they were measured")
                total = part if total is None else total + part
            assert total is not None
            folder.write(MEANS_NAME, sums_bytes(total, self.run.record.neurons, run, ""))
            for shard in shards:
                folder.delete(part_name(shard))
            timing.summary = f"of every neuron at each position of the prompt, over {len(shards)} shards of half 0"

    def _score_shards(self, record: AblationRecord) -> None:
        """Have every shard committed that is not."""
        folder, shards = self.files.folder, record.shards
        committed = {
            shard
            for shard in shards
            if committed_ablated(folder, record, shard, self._digest_of_examples(shard)) is not None
        }
        if committed:
            self.reporter.note(f"ablate: {len(committed)} of {len(shards)} shards are committed already")
        donors: dict[str, Example] = {}
        if self.spec.rule.baseline == "resample":
            donors = choose_donors(self._examples(shards), self.run.record.groups, self.spec.seed)

        def call(actor: Any, shard: int) -> Any:
            mine = {e.example_id: donors[e.example_id] for e in self._examples([shard])} if donors else {}
            return actor.ablate.remote(self.work, ShardToAblate(shard, record.fingerprint, mine))

        with timed(self.reporter, "ablate", len(shards)) as timing:
            missing = [shard for shard in shards if shard not in committed]
            for receipt in self.workplace.pool.map(missing, call):
                committed.add(receipt.shard)
                self.reporter.advance(len(committed), f"shards, {receipt.tokens / receipt.seconds:,.0f} tokens/s")
            sets = len(sets_from(folder.read(self._name(SETS_NAME))))
            timing.summary = f"{sets} sets over {len(shards)} shards of half 1"

    def _conclude(self, record: AblationRecord, seconds: float) -> None:
        """Work out the effects, and record that the ablation is complete.

        Raises:
            JobFailed: with nothing silenced, the scores are not those of the run.
        """
        folder = self.files.folder
        sets = sets_from(folder.read(self._name(SETS_NAME)))
        scores = AblatedScores.of(list(read_ablated(folder, self.id, record.shards)), len(sets))
        difference = difference_without_change(self.run, scores)
        assert self.run.record.numerics is not None
        if not difference <= TOLERANCE.get(self.run.record.numerics.dtype, TOLERANCE_BELOW):
            raise JobFailed(
                f"with nothing silenced, the scores differ from those of the run by {difference:.2g}, relative to 1 +"
                " their size: they are not of the same model, prompt and texts",
                "",
            )
        examples = self._examples(record.shards)
        groups = groups_of(self.run, examples, self.spec.specificity)
        units = [example.unit for example in examples]
        table = effect_rows(record, self.spec, sets, scores, units, groups, self.prompt)
        folder.write(self._name(EFFECTS_NAME), parquet_bytes([table], ABLATION))
        complete = record.model_copy(
            update={
                "files": record.files | digests_of(folder, [self._name(EFFECTS_NAME)]),
                "is_complete": True,
                "seconds": round(seconds, 3),
                "difference_without_change": difference,
            }
        )
        folder.write(self._name(ABLATION_RECORD), complete.to_bytes())
