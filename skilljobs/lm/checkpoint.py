"""Checking the weight files of a model by their headers, without torch and before anything starts."""

import json
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.lm.source import ModelSource

FLOATING_TYPES = frozenset({"F64", "F32", "F16", "BF16"})
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
        for name, entry in _header(source, file).items():
            tensors[name] = str(entry["dtype"])
    missing = sorted(source.indexed_tensors - tensors.keys())
    if missing:
        raise InputError(f"the model {source.name} lacks {listed(missing)}, which its index names")
    experts = sorted(name for name in tensors if EXPERT in name.lower())
    if experts:
        raise InputError(
            f"the model {source.name} is a mixture of experts ({listed(experts)}):"
            " the neurons of experts are not read yet"
        )
    quantized = sorted(
        name for name, dtype in tensors.items() if dtype not in FLOATING_TYPES and name.endswith(".weight")
    )
    if quantized and "quantization_config" not in source.config:
        raise InputError(
            f"the model {source.name} stores {listed(quantized)} as {tensors[quantized[0]]}, and its configuration"
            " names no quantization: these weights cannot be read as numbers"
        )


def listed(names: list[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"the weights {shown}" + (f" and {more} more" if more > 0 else "")


def _header(source: ModelSource, file: Path) -> dict[str, Any]:
    """The entries of a safetensors file's header, if the file is as long as it says."""
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("its header is cut off")
            header = json.loads(stream.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
        if any("dtype" not in entry for entry in entries.values()):
            raise ValueError("a tensor has no type")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"the model {source.name} has a damaged file {file.name}: {error}") from None
    if end != size:
        raise InputError(
            f"the model {source.name} has a damaged file {file.name}:"
            f" it has {size:,} bytes, and its header says {end:,}"
        )
    return entries
