"""The model of a job, as its spec brings it."""

from dataclasses import replace

from skilljobs.checkpoints.adapter_files import find_adapter
from skilljobs.lm.source import ModelSource, find_model
from skilljobs.spec import JobSpec


def chosen_model(spec: JobSpec) -> ModelSource:
    """The model that `spec` names, downloaded if necessary.

    Raises:
        InputError: there is no such model, or an option about it does not fit it.
    """
    source = find_model(spec.model or "", revision=spec.revision, trust_remote_code=spec.trust_remote_code)
    return source if spec.adapter is None else replace(source, adapter=find_adapter(spec.adapter))
