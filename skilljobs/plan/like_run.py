"""A finished run that metrics are added to (`--like`), and what a job takes from it."""

from dataclasses import dataclass, replace

from skilljobs.errors import InputError
from skilljobs.options import flag_of
from skilljobs.plan.versions import installed_version
from skilljobs.plan.work import LikeWork
from skilljobs.spec import GIVEN_WITH_LIKE, JobSpec
from skilljobs.store.cleaning import SUMS_DROPPED
from skilljobs.store.integrity import damaged_names
from skilljobs.store.reader import RunReader
from skilljobs.store.record import RunRecord
from skilljobs.store.run import RunFiles, prompt_uri
from skilljobs.tasks.columns import ColumnReport

MADE_BEFORE_SHARDS = ("prepare", "tune", "reference")
"""The stages whose files the job takes over."""


@dataclass(frozen=True)
class LikeRun:
    """The run, and what is said of the metrics that are added."""

    files: RunFiles
    new_columns: ColumnReport
    """What became of every column of the file with the metrics."""
    notes: tuple[str, ...]
    """What is to be known about its rows, in sentences."""

    @property
    def record(self) -> RunRecord:
        return self.files.record

    @property
    def work(self) -> LikeWork:
        """What a scorer must know of it."""
        return LikeWork(self.files.uri, self.record.fingerprint.digest, RunReader(self.files.uri).layout())

    @property
    def numerics(self) -> dict[str, object]:
        """The fields of the run's fingerprint that decide the last bits: its sums and the new ones must agree."""
        fields = self.record.fingerprint.fields
        return {name: value for name, value in fields.items() if name.startswith(("numerics.", "version."))}


def spec_like(spec: JobSpec) -> JobSpec:
    """The spec of a job that adds metrics to a run: the run's own, with what `spec` gives.

    Raises:
        InputError: metrics cannot be added to that run, or `spec` gives an option that the run decides.
    """
    for name in spec.chosen:
        if name not in GIVEN_WITH_LIKE:
            raise InputError(f"{flag_of(name)} cannot be given with --like {spec.like}, whose own options are used")
    record = find_run(str(spec.like)).record
    given = {name: getattr(spec, name) for name in (*spec.chosen, "trust_remote_code")}
    return replace(record.job_spec, **given)


def find_run(uri: str) -> RunFiles:
    """The run at `uri`.

    Raises:
        InputError: there is none, or metrics cannot be added to it; says why.
    """
    files = RunFiles(uri)
    record = files.record
    spec, reason = record.job_spec, None
    if spec.prompts > 1:
        reason = f"it has {spec.prompts} soft prompts: name one of them, {prompt_uri(uri, 0)} and so on"
    elif not record.is_complete:
        reason = f"it is not finished (it lacks {record.next_stage}): submit it again first"
    elif spec.tensor_parallel > 1:
        reason = f"{spec.tensor_parallel} processes held its model (--tensor-parallel), which is not supported here"
    elif record.sums_dropped:
        reason = SUMS_DROPPED
    elif record.stopped_at is not None:
        reason = "it stopped early (--until-ci), and the examples that it did not need are gone"
    elif not record.bit_exact:
        reason = "batches of it were split for want of memory, so that its sums cannot be repeated"
    elif files.committed_count() < len(record.shards):
        reason = f"{files.committed_count()} of its {len(record.shards)} shards are there, and all are needed"
    if reason is not None:
        raise InputError(f"metrics cannot be added to the run {uri}: {reason}")
    return files


def check_repeatable(files: RunFiles) -> None:
    """Check that the run can be read again here, to the last bit, as far as that shows without the model.

    Raises:
        InputError: a package has another version, or one of the run's files is damaged.
    """
    record = files.record
    for field, before in record.fingerprint.fields.items():
        package = field.removeprefix("version.")
        if package != field and (now := installed_version(package)) != before:
            raise InputError(
                f"the run {files.uri} was made with {package} {before}, and here is {now}: new sums would not be of the"
                " same activations; a whole new run (--soft-prompt RUN) has all metrics"
            )
    for stage in MADE_BEFORE_SHARDS:
        damaged = damaged_names(files.folder, record.stages[stage].files, thorough=True)
        if damaged:
            raise InputError(f"the run {files.uri} is damaged: {damaged[0]} is not as it was written")
