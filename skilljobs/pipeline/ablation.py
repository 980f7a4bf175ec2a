"""One ablation of one run: its sets, means, shards and effects. What is there already is not made again."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from skilljobs.analysis.ablation_effects import AblatedScores, effect_rows, groups_of
from skilljobs.analysis.ablation_sets import choose_sets
from skilljobs.errors import InputError
from skilljobs.pipeline.silencing import Silencing
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.progress.reporter import Reporter
from skilljobs.store.ablation_tables import is_intact
from skilljobs.store.ablations import (
    ABLATION_RECORD,
    EFFECTS_NAME,
    SETS_NAME,
    AblationRecord,
    ablation_folder,
    ablation_ids,
    read_ablated,
    read_ablation,
    sets_from,
)
from skilljobs.store.finished import FinishedRunFiles
from skilljobs.store.follow_up_schema import ABLATION
from skilljobs.store.integrity import digests_of
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import write_parquet


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
    def silencing(self) -> Silencing:
        """What scores its sets."""
        spec, inside = self.spec, ablation_folder(self.id)
        return Silencing(
            self.run, inside, spec.rule, spec.at == "all", spec.seed, self.plan, self.workplace, self.reporter
        )

    @property
    def files(self) -> FinishedRunFiles:
        """The run's files, whose record stays as it is."""
        return self.silencing.files

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
        silencing = self.silencing
        silencing.start()
        begun = datetime.now(UTC)
        chosen = choose_sets(self.run, self.spec, silencing.output_norms())
        used = silencing.prepare(chosen.sets)
        record = AblationRecord(
            ablation=self.id,
            created=self._created or begun.isoformat(timespec="seconds"),
            spec=self.spec.as_json(),
            fingerprint=silencing.fingerprint(self.id, used),
            files=used,
            shards=self.run.record.halves[1],
            shared=chosen.shared,
        )
        self.files.folder.write(self._name(ABLATION_RECORD), record.to_bytes())
        silencing.score(record.fingerprint, record.shards, len(chosen.sets), "ablate")
        self._conclude(record, (datetime.now(UTC) - begun).total_seconds())

    @property
    def _created(self) -> str | None:
        """When it was begun, if it was."""
        try:
            return read_ablation(self.files.folder, self.id).created
        except InputError:
            return None

    def _name(self, file: str) -> str:
        return f"{ablation_folder(self.id)}/{file}"

    def _conclude(self, record: AblationRecord, seconds: float) -> None:
        """Work out the effects, and record that the ablation is complete.

        Raises:
            JobFailed: with nothing silenced, the scores are not those of the run.
        """
        folder = self.files.folder
        sets = sets_from(folder.read(self._name(SETS_NAME)))
        scores = AblatedScores.of(list(read_ablated(folder, ablation_folder(self.id), record.shards)), len(sets))
        difference = self.silencing.difference(scores)
        examples = self.silencing.examples(record.shards)
        groups = groups_of(self.run, examples, self.spec.specificity)
        units = [example.unit for example in examples]
        table = effect_rows(record, self.spec, sets, scores, units, groups, self.prompt)
        write_parquet(folder, self._name(EFFECTS_NAME), [table], ABLATION)
        complete = record.model_copy(
            update={
                "files": record.files | digests_of(folder, [self._name(EFFECTS_NAME)]),
                "is_complete": True,
                "seconds": round(seconds, 3),
                "difference_without_change": difference,
            }
        )
        folder.write(self._name(ABLATION_RECORD), complete.to_bytes())
