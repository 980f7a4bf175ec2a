"""A soft prompt that a job reuses, from a run or a file, local or on object storage."""

from collections.abc import Mapping

import pyarrow as pa

from skilljobs.checkpoints.safetensors_header import FLOATING_TYPES, checked_tensors, is_finite, read_header
from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT, JobSpec
from skilljobs.store.files import Folder
from skilljobs.store.run import PROMPT_NAME, RunFiles, prompt_uri
from skilljobs.uris import parent_and_name

READ_WITH = ("model", "adapter", "quantize", "chat", "system", "few_shot", "template", "hide_choices", "answer_end")
"""Options that decide what stands before and behind a soft prompt, and which model reads it."""
_NAMED_FILES = ("model", "adapter")
"""Those that name files: files moved elsewhere are the same ones."""


def is_reused(spec: JobSpec) -> bool:
    """Whether the job takes its soft prompt from a run or a file."""
    return spec.soft_prompt not in (None, RANDOM_PROMPT, NO_PROMPT)


def reused_prompt_bytes(spec: JobSpec) -> bytes | None:
    """The safetensors bytes of the soft prompt that `spec` reuses; None if it reuses none.

    Raises:
        InputError: there is no such run or file, or the run has several prompts.
    """
    if not is_reused(spec):
        return None
    name = str(spec.soft_prompt)
    parent, file = parent_and_name(name)
    try:
        run = RunFiles(name)
        if run.folder.exists(PROMPT_NAME):
            return run.folder.read(PROMPT_NAME)
        if RunFiles(prompt_uri(run.uri, 0)).exists:
            raise InputError(f"--soft-prompt {name} has several soft prompts: name one, {prompt_uri(name, 0)}")
        return Folder(parent).read(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"--soft-prompt {name}: there is no such run or file") from error


def differences(spec: JobSpec, digests: Mapping[str, object]) -> list[str]:
    """What was otherwise in the run that the reused soft prompt comes from, each in words; none for a file.

    `digests` are this job's `model_digest` and `adapter_digest`.
    """
    try:
        run = RunFiles(str(spec.soft_prompt)) if is_reused(spec) else None
        record = run.record if run is not None and run.exists else None
    except (OSError, ValueError, pa.ArrowException):
        return []
    if record is None:
        return []
    before, now, default = record.spec, spec.as_json(), JobSpec(data="").as_json()
    changed = []
    for name in READ_WITH:
        values = before.get(name, default.get(name)), now.get(name)
        if name in _NAMED_FILES:
            same = record.fingerprint.fields.get(f"{name}_digest") == digests.get(f"{name}_digest")
        else:
            same = values[0] == values[1]
        if not same:
            changed.append(f"{name} = {values[0]!r} there, {values[1]!r} here")
    return changed


def planned_prompt_length(spec: JobSpec, source: ModelSource) -> int:
    """The number of vectors in the job's soft prompt.

    Raises:
        InputError: a prompt to reuse does not exist, is damaged, is not one tensor of finite numbers, or is not as
            wide as the model.
    """
    if spec.soft_prompt == NO_PROMPT:
        return 0
    data = reused_prompt_bytes(spec)
    if data is None:
        return spec.prompt_length
    try:
        header = read_header(data)
        tensors = list(checked_tensors(header, len(data) - 8 - int.from_bytes(data[:8], "little")).values())
    except ValueError as error:
        raise InputError(f"--soft-prompt {spec.soft_prompt}: it is not a whole safetensors file: {error}") from None
    shapes, width = [tensor["shape"] for tensor in tensors], source.width
    if len(shapes) != 1 or len(shapes[0]) != 2 or (width and shapes[0][1] != width):
        raise InputError(
            f"--soft-prompt {spec.soft_prompt}: it holds {shapes}, not one tensor of positions x {width},"
            f" the width of {source.name}"
        )
    dtype = tensors[0]["dtype"]
    if dtype not in FLOATING_TYPES:
        raise InputError(f"--soft-prompt {spec.soft_prompt}: its values are of the type {dtype}, not floating-point")
    if not is_finite(data, tensors[0]):
        raise InputError(f"--soft-prompt {spec.soft_prompt}: one of its values is not finite")
    return int(shapes[0][0])
