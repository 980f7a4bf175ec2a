"""The estimated effects on one outcome in one run: its shards and table. What is there already is not made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from skilljobs.cluster.reduce_tasks import ReduceTasks
from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline.silencing import TOLERANCE, TOLERANCE_BELOW, Silencing
from skilljobs.plan.effects_spec import NULL_DRAWS, ShardToEstimate
from skilljobs.progress.reporter import timed
from skilljobs.reduce.effect_layers import EffectsReduction, rank_effects, reduce_effects
from skilljobs.stats.effect_sums import Outcome
from skilljobs.stats.layout import ALL
from skilljobs.store.effect_files import (
    EFFECTS_FORMAT,
    EffectsReceipt,
    EffectsRecord,
    committed_effects,
    effects_folder,
    effects_record_name,
    outcomes_estimated,
    read_effects_record,
)
from skilljobs.store.effect_tables import damaged_of_outcome
from skilljobs.store.integrity import digests_of
from skilljobs.store.position_means import MEANS_NAME
from skilljobs.store.record import FileDigest
from skilljobs.store.run import EFFECTS_NAME, EFFECTS_NULL_NAME
from skilljobs.tasks.external_columns import external_columns
from skilljobs.tasks.external_metrics import Population


@dataclass
class Effects:
    """The effects on one outcome in a run of one soft prompt; what is there already is not made again.

    `silencing` reads the run again; `prompt` is the number of the prompt if it is one of several.
    """

    silencing: Silencing
    outcome: Outcome
    prompt: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether they are complete, with all files as they were written."""
        folder = self.silencing.files.folder
        if self.outcome not in outcomes_estimated(folder):
            return False
        try:
            record = read_effects_record(folder, self.outcome)
        except InputError:  # it is made again
            return False
        if not record.is_complete or damaged_of_outcome(self.silencing.files, record):
            return False
        return record.fingerprint == self._fingerprint(digests_of(folder, [MEANS_NAME]))

    def make(self) -> None:
        """Do what is left.

        Raises:
            InputError: the model or the machines do not fit the run.
            JobFailed: a shard could not be done; what was committed is kept.
        """
        silencing, run = self.silencing, self.silencing.run
        silencing.start()
        begun = datetime.now(UTC)
        silencing.measure_means()
        folder = silencing.files.folder
        means = digests_of(folder, [MEANS_NAME])
        record = EffectsRecord(
            outcome=self.outcome,
            created=begun.isoformat(timespec="seconds"),
            fingerprint=self._fingerprint(means),
            groups=(ALL, *(group.name for group in self._groups)),
            draws=NULL_DRAWS,
            halves=run.record.halves,
            files=means,
        )
        folder.write(effects_record_name(self.outcome), record.to_bytes())
        receipts = self._estimate(record)
        record = record.model_copy(update=self._facts(receipts))
        self._reduce(record)
        names = [f"{effects_folder(self.outcome)}/{name}" for name in (EFFECTS_NAME, EFFECTS_NULL_NAME)]
        seconds = (datetime.now(UTC) - begun).total_seconds()
        complete = {"files": means | digests_of(folder, names), "is_complete": True, "seconds": round(seconds, 3)}
        folder.write(effects_record_name(self.outcome), record.model_copy(update=complete).to_bytes())

    def _fingerprint(self, means: dict[str, FileDigest]) -> str:
        return self.silencing.fingerprint(f"effects {EFFECTS_FORMAT} {self.outcome} {NULL_DRAWS}", means)

    @cached_property
    def _groups(self) -> tuple[Population, ...]:
        """The groups of the run, beside all examples. Shards are read until their columns have been seen."""
        record = self.silencing.run.record
        missing, found = dict(record.groups), {}
        for shard in record.halves[0] + record.halves[1]:
            if not missing:
                break
            for source in external_columns(self.silencing.examples([shard])):
                if source.name in missing:
                    found[source.name] = source
                    del missing[source.name]
        return tuple(
            Population(found[column], name.removeprefix(f"{column}="))
            for column, names in record.groups.items()
            for name in names
            if column in found
        )

    def _estimate(self, record: EffectsRecord) -> dict[int, EffectsReceipt]:
        """Have every shard committed that is not; the receipts of all."""
        silencing, reporter = self.silencing, self.silencing.reporter
        folder, shards = silencing.files.folder, record.shards
        receipts: dict[int, EffectsReceipt] = {}
        for shard in shards:
            receipt = committed_effects(folder, record, shard, silencing.digest_of_examples(shard))
            if receipt is not None:
                receipts[shard] = receipt
        if receipts:
            reporter.note(f"effects: {len(receipts)} of {len(shards)} shards are committed already")

        def call(actor: Any, shard: int) -> Any:
            half = int(shard in record.halves[1])
            given = ShardToEstimate(shard, half, record.fingerprint, self.outcome, self._groups)
            return actor.estimate.remote(silencing.work, given)

        with timed(reporter, "effects", len(shards)) as timing:
            missing = [shard for shard in shards if shard not in receipts]
            for done in silencing.workplace.pool.map(missing, call):
                receipts[done.receipt.shard] = done.receipt
                reporter.advance(len(receipts), f"shards, {done.tokens / done.seconds:,.0f} tokens/s")
            neurons = sum(layer.count for layer in silencing.run.record.neurons)
            timing.summary = f"of {neurons:,} neurons on the {self.outcome}, over {len(shards)} shards"
        return dict(sorted(receipts.items()))

    def _facts(self, receipts: dict[int, EffectsReceipt]) -> dict[str, Any]:
        """What the shards say beside their sums.

        Raises:
            JobFailed: the outcomes are not those of the run, or too many examples are not finite.
        """
        record = self.silencing.run.record
        assert record.numerics is not None
        difference = max(receipt.difference for receipt in receipts.values())
        if not difference <= TOLERANCE.get(record.numerics.dtype, TOLERANCE_BELOW):
            raise JobFailed(
                f"the {self.outcome} of an example differs from that of the run by {difference:.2g}, relative to 1 +"
                " its size: it is not of the same model, prompt and texts",
                "",
            )
        set_aside = {example: shard for shard, receipt in receipts.items() for example in receipt.set_aside}
        if set_aside:
            text = f"{len(set_aside)} examples have effects that are not finite, and are in no sum: {_first(set_aside)}"
            if len(set_aside) > record.job_spec.max_bad_rows * sum(record.shards):
                raise JobFailed(f"{text}; at most a fraction of {record.job_spec.max_bad_rows:.3g} may be", "")
            self.silencing.reporter.note(text)
        exact = all(receipt.bit_exact for receipt in receipts.values())
        return {"difference": difference, "set_aside": set_aside, "bit_exact": exact}

    def _reduce(self, record: EffectsRecord) -> None:
        """Turn the sums into the effect of every neuron."""
        neurons, uri = self.silencing.run.record.neurons, self.silencing.run.uri
        job = EffectsReduction(uri, self.outcome, record.groups, record.halves, record.draws, neurons, self.prompt)
        with timed(self.silencing.reporter, "reduce", len(neurons) + 1) as timing:
            tasks = ReduceTasks(self.silencing.reporter, self.silencing.workplace.scorer_nodes)
            tasks.run_all("reduce_effects", "layers", (partial(reduce_effects, job, n) for n in range(len(neurons))))
            tasks.run_all("rank_effects", "table", [partial(rank_effects, job)])
            timing.summary = f"{len(neurons)} layers"


def _first(names: Sequence[str] | dict[str, int], most: int = 5) -> str:
    """The first of some names, and how many there are beyond them."""
    shown = ", ".join(list(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
