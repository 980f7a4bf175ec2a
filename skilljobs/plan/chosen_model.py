"""The model of a job, as its spec brings it."""

from dataclasses import replace
from importlib.util import find_spec

from skilljobs.checkpoints.adapter_files import find_adapter
from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.errors import InputError
from skilljobs.spec import JobSpec

QUANTIZER = "bitsandbytes"


def chosen_model(spec: JobSpec) -> ModelSource:
    """The model that `spec` names, downloaded if necessary.

    Raises:
        InputError: there is no such model, or an option about it does not fit it.
    """
    source = find_model(spec.model or "", revision=spec.revision, trust_remote_code=spec.trust_remote_code)
    if spec.quantize is not None:
        check_quantizer(source, spec.quantize)
    return replace(source, quantize=spec.quantize, adapter=None if spec.adapter is None else find_adapter(spec.adapter))


def check_quantizer(source: ModelSource, quantize: str) -> None:
    """Refuse what no quantizer of this machine can do. Whether one supports the device shows when the model is loaded.

    Raises:
        InputError: there is no quantizer, or the model is quantized already.
    """
    if "quantization_config" in source.config:
        raise InputError(f"--quantize {quantize}: the model {source.name} is quantized already")
    if find_spec(QUANTIZER) is None:
        raise InputError(f"--quantize {quantize} needs the package {QUANTIZER}, which is not installed on this machine")
