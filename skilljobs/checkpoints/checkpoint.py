"""Checking the weight files of a model by their headers, without torch and before anything starts."""

from pathlib import Path
from typing import Any

from skilljobs.checkpoints.safetensors_header import FLOATING_TYPES, checked_tensors, read_header
from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError

EXPERT = "expert"
"""In the names of tensors and modules of a mixture of experts."""
NAMES_SHOWN = 3
"""Names of tensors in a message; further ones are counted."""


def check_weight_files(source: ModelSource) -> None:
    """Refuse weight files that are damaged, incomplete, or of a type that only a quantizer can read.

    Raises:
        InputError: names the file, or the tensors, and what is wrong with them.
    """
    tensors: dict[str, str] = {}
    for file in source.weight_files:
        for name, entry in _tensors(source, file).items():
            tensors[name] = entry["dtype"]
    if not tensors:
        raise InputError(f"the weight files of the model {source.name} hold no weights")
    missing = sorted(source.indexed_tensors - tensors.keys())
    if missing:
        raise InputError(f"the model {source.name} lacks {listed(missing)}, which its index names")
    quantized = sorted(
        name for name, dtype in tensors.items() if dtype not in FLOATING_TYPES and name.endswith(".weight")
    )
    if quantized and "quantization_config" not in source.config:
        raise InputError(
            f"the model {source.name} stores {listed(quantized)} as {tensors[quantized[0]]}, and its configuration"
            " names no quantization: these weights cannot be read as numbers"
        )


def stored_shapes(source: ModelSource) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the model's weight files, by name.

    Raises:
        InputError: a file is damaged.
    """
    return {
        name: tuple(entry["shape"]) for file in source.weight_files for name, entry in _tensors(source, file).items()
    }


def listed(names: list[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"the weights {shown}" + (f" and {more} more" if more > 0 else "")


def _tensors(source: ModelSource, file: Path) -> dict[str, dict[str, Any]]:
    """The entries of a safetensors file's header, if the file is as it says."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            header = read_header(start + stream.read(min(length, size)))
        return checked_tensors(header, size - 8 - length)
    except (OSError, ValueError) as error:
        raise InputError(f"the model {source.name} has a damaged file {file.name}: {error}") from None
