"""What a job on a finished run must know, from the run's own files: its data may be gone."""

from collections.abc import Collection, Sized
from dataclasses import dataclass, replace

from skilljobs.checkpoints.adapter_files import find_adapter
from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.errors import InputError
from skilljobs.plan.chosen_model import check_quantizer
from skilljobs.selection import NEURONS
from skilljobs.spec import JobSpec
from skilljobs.store.record import RunRecord
from skilljobs.tasks.registry import find_task


@dataclass(frozen=True)
class FinishedRun:
    """The plan of a job that reads the model of a finished run again, in the same way."""

    spec: JobSpec
    source: ModelSource
    shards: Sized
    """The shards that it goes through."""

    @property
    def sums_size(self) -> int:
        """It makes no sums."""
        return 1

    @property
    def kept_tokens(self) -> int | None:
        """It keeps no activations."""
        return None

    def check_neurons(self, count: int) -> None:
        """As many as the run read are read again."""

    @classmethod
    def of(cls, record: RunRecord, shards: Collection[int], trust_remote_code: bool) -> "FinishedRun":
        """Find the model of a run, which must be the one that the run read.

        Raises:
            InputError: it is another one, is not here, or needs code that was not trusted now.
        """
        source = same_model(record, trust_remote_code)
        if source.is_masked:
            raise InputError(
                f"the model {source.name} is a masked language model, whose neurons cannot be silenced yet: its prompt"
                " stands in front of the text, and nothing of a row is read before the rest of it"
            )
        return cls(record.job_spec, source, shards)


def same_model(record: RunRecord, trust_remote_code: bool) -> ModelSource:
    """The model of a run.

    Raises:
        InputError: it is another one now, is not here, or needs code that was not trusted now.
    """
    spec = record.job_spec
    if spec.trust_remote_code and not trust_remote_code:
        raise InputError("the run used Python code of its model: --trust-remote-code runs it again")
    commit = None if spec.revision is None else record.model.commit
    source = find_model(str(spec.model), revision=commit, trust_remote_code=spec.trust_remote_code)
    if source.digest != record.fingerprint.fields["model_digest"]:
        raise InputError(f"the model {source.name} is not the one that the run {record.run_id} used: its files differ")
    if spec.quantize is not None:
        check_quantizer(source, spec.quantize)
        source = replace(source, quantize=spec.quantize)
    if spec.adapter is not None:
        source = replace(source, adapter=find_adapter(spec.adapter))
        if source.adapter is None or source.adapter.digest != record.fingerprint.fields.get("adapter_digest"):
            raise InputError(f"--adapter {spec.adapter} is not the one that the run used: its files differ")
    return source


def answer_end_of(record: RunRecord) -> str | None:
    """What ends an answer in a run; None for the tokenizer's end token."""
    spec = record.job_spec
    if spec.chat:
        end: str | None = record.fingerprint.fields.get("answer_end")
        return end
    return spec.answer_end or find_task(spec.task).answer_end


def refuse_other_units(record: RunRecord) -> None:
    """Refuse a run whose units cannot be silenced.

    Raises:
        InputError: gives the reason.
    """
    units, ranks = record.job_spec.units, record.job_spec.tensor_parallel
    if ranks > 1:
        raise InputError(
            f"the run {record.run_id} had {ranks} processes hold one model (--tensor-parallel), each a part of its"
            " neurons, which cannot be silenced yet"
        )
    if units != NEURONS:
        raise InputError(
            f"the run {record.run_id} read {units} (--units), which cannot be silenced: only neurons can, since their"
            " activation is what the next projection reads; a norm, a probability or a feature is worked out of others"
        )
