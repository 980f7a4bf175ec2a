"""Scoring a finished run again with sets of neurons changed: what is measured before, and shard after shard."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.ablation_effects import AblatedScores, difference_without_change
from skilljobs.errors import JobFailed
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.donors import choose_donors
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import Rule
from skilljobs.plan.ablation_work import AblationWork, ShardToAblate
from skilljobs.plan.finished_run import FinishedRun, answer_end_of
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.store.ablations import SETS_NAME, NeuronSet, committed_ablated, sets_bytes
from skilljobs.store.examples import examples_from
from skilljobs.store.finished import FinishedRunFiles
from skilljobs.store.integrity import digests_of
from skilljobs.store.position_means import MEANS_NAME, part_name, read_sums, sums_bytes
from skilljobs.store.reader import RunReader
from skilljobs.store.record import FileDigest
from skilljobs.store.shards import examples_name
from skilljobs.tasks.base import Example

TOLERANCE = {"float32": 1e-3}
"""How far scores may be from the run's with nothing silenced, relative to 1 + their size: rounding alone."""
TOLERANCE_BELOW = 0.2
"""The same in types of 16 bits."""


@dataclass
class Silencing:
    """Sets of neurons of a run of one soft prompt, changed by one rule. What is committed is not made again.

    `inside` is the folder of its files in the run, `everywhere` whether texts and answers are changed too, and `seed`
    chooses who lends activations with `--how resample`. `means` is the file of the means that neurons are set to: those
    of half 0, which are measured when they are needed, or others, which must be there.
    """

    run: RunReader
    inside: str
    rule: Rule
    everywhere: bool
    seed: int
    plan: FinishedRun
    workplace: Workplace
    reporter: Reporter
    means: str = MEANS_NAME

    @cached_property
    def files(self) -> FinishedRunFiles:
        """The run's files, whose record stays as it is."""
        return FinishedRunFiles(self.run.uri)

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
            inside=self.inside,
            means=self.means,
            rule=self.rule,
            everywhere=self.everywhere,
            texts_are_complete=record.job_spec.chat,
            answer_end=answer_end_of(record),
            batch_tokens=record.numerics.batch_tokens,
            left_out=frozenset(example.example_id for example in record.set_aside),
        )

    def start(self) -> None:
        """Start the scorers; errors as `Workplace.start_scorers`."""
        self.workplace.start_scorers(self.files, self.plan)

    def output_norms(self) -> list[NDArray[np.float64]]:
        """The output norm of every neuron, an array for each layer; the scorers are started.

        Raises:
            InputError: the model's neurons cannot be silenced.
        """
        norms: list[list[NDArray[np.float64]]] = []
        self.workplace.pool.run_on_one(lambda actor: [actor.output_norms.remote(self.work)], norms.append)
        return norms[0]

    def prepare(self, sets: Sequence[NeuronSet]) -> dict[str, FileDigest]:
        """Write the sets, and see that the means are there if they are needed; the files that scores depend on."""
        name = f"{self.inside}/{SETS_NAME}"
        self.files.folder.write(name, sets_bytes(sets))
        names = [name]
        if self.rule.baseline == "mean":
            if self.means == MEANS_NAME:
                self.measure_means()
            names.append(self.means)
        return digests_of(self.files.folder, names)

    def fingerprint(self, name: str, used: dict[str, FileDigest]) -> str:
        """Of the run, of the options that `name` stands for, and of the files that scores depend on."""
        parts = [self.run.record.fingerprint.digest, name, *(digest.sha256 for digest in used.values())]
        return stable_digest(*parts, size=16).hex()

    def score(self, fingerprint: str, shards: Sequence[int], sets: int, stage: str) -> None:
        """Have every one of `shards` committed that is not, timed and shown as `stage`."""
        folder = self.files.folder
        committed = {
            shard
            for shard in shards
            if committed_ablated(folder, self.inside, fingerprint, shard, self.digest_of_examples(shard)) is not None
        }
        if committed:
            self.reporter.note(f"{stage}: {len(committed)} of {len(shards)} shards are committed already")
        donors: dict[str, Example] = {}
        if self.rule.baseline == "resample":
            donors = choose_donors(self.examples(shards), self.run.record.groups, self.seed)

        def call(actor: Any, shard: int) -> Any:
            mine = {e.example_id: donors[e.example_id] for e in self.examples([shard])} if donors else {}
            return actor.ablate.remote(self.work, ShardToAblate(shard, fingerprint, mine))

        with timed(self.reporter, stage, len(shards)) as timing:
            missing = [shard for shard in shards if shard not in committed]
            for receipt in self.workplace.pool.map(missing, call):
                committed.add(receipt.shard)
                self.reporter.advance(len(committed), f"shards, {receipt.tokens / receipt.seconds:,.0f} tokens/s")
            timing.summary = f"{sets} sets over {len(shards)} shards of half 1"

    def difference(self, scores: AblatedScores) -> float:
        """How far the scores are from the run's with nothing silenced, see `difference_without_change`.

        Raises:
            JobFailed: they are not those of the run.
        """
        difference = difference_without_change(self.run, scores)
        assert self.run.record.numerics is not None
        if not difference <= TOLERANCE.get(self.run.record.numerics.dtype, TOLERANCE_BELOW):
            raise JobFailed(
                f"with nothing silenced, the scores differ from those of the run by {difference:.2g}, relative to 1 +"
                " their size: they are not of the same model, prompt and texts",
                "",
            )
        return difference

    def digest_of_examples(self, shard: int) -> str:
        """The SHA-256 of the file of a shard's examples."""
        return self.run.record.stages["prepare"].files[examples_name(shard)].sha256

    def examples(self, shards: Sequence[int]) -> list[Example]:
        """The examples of shards, in order, without those that the run set aside."""
        folder, left_out = self.files.folder, self.work.left_out
        examples = (example for shard in shards for example in examples_from(folder.read(examples_name(shard))))
        return [example for example in examples if example.example_id not in left_out]

    def measure_means(self) -> None:
        """Measure the mean of every neuron at each kind of position over half 0, unless that was done."""
        folder, run, shards = self.files.folder, self.run.record.fingerprint.digest, self.run.record.halves[0]
        if read_sums(folder, MEANS_NAME, run, "") is not None:
            return
        with timed(self.reporter, "means", len(shards)) as timing:
            found = {s: read_sums(folder, part_name(s), run, self.digest_of_examples(s)) for s in shards}
            missing = [shard for shard in shards if found[shard] is None]
            done = len(shards) - len(missing)
            for shard in self.workplace.pool.map(missing, lambda actor, s: actor.measure.remote(self.work, s)):
                found[shard] = read_sums(folder, part_name(shard), run, self.digest_of_examples(shard))
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
