"""Safetensors files without torch: their header, what is wrong with them, and a digest of the tensors alone."""

import json
import math
from typing import Any

import numpy as np

from skilljobs.hashing import stable_digest

METADATA = "__metadata__"
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a value, for the types that all versions of safetensors have."""

FLOATING_TYPES = frozenset({"F64", "F32", "F16", "BF16"})


def read_header(data: bytes) -> dict[str, Any]:
    """The header of the file's bytes: JSON after its length in 8 bytes. Raises ValueError if there is none."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        raise ValueError("its header is cut off")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header


def checked_tensors(header: dict[str, Any], stored: int) -> dict[str, dict[str, Any]]:
    """The entries of all tensors, each with its `dtype`, `shape` and `data_offsets`.

    `stored` is how many bytes follow the header.

    Raises:
        ValueError: an entry is not as the format has it, or does not fit the bytes; says what is wrong with the file.
    """
    entries = {name: entry for name, entry in header.items() if name != METADATA}
    for name, entry in entries.items():
        if not _is_entry(entry):
            raise ValueError(f"its header does not say the type, shape and place of {name!r}")
        first, last = entry["data_offsets"]
        size = BYTES.get(entry["dtype"])
        if first > last or (size is not None and last - first != size * math.prod(entry["shape"])):
            raise ValueError(f"the place of {name!r} does not fit its type and shape")
    end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if end != stored:
        raise ValueError(f"its tensors have {stored:,} bytes, and its header says {end:,}")
    return entries


def prompt_length(data: bytes) -> int:
    """The number of vectors in the bytes of a soft prompt's file, which holds one tensor.

    Raises:
        ValueError: the bytes are not such a file.
    """
    shapes = [entry["shape"] for entry in read_header(data).values() if isinstance(entry, dict) and "shape" in entry]
    if len(shapes) != 1 or not isinstance(shapes[0], list) or len(shapes[0]) != 2 or not isinstance(shapes[0][0], int):
        raise ValueError(f"it does not hold one tensor of positions x d_model, but {shapes}")
    return shapes[0][0]


def is_finite(data: bytes, entry: dict[str, Any]) -> bool:
    """Whether all values of a floating-point tensor in the file's bytes are finite."""
    start = 8 + int.from_bytes(data[:8], "little")
    first, last = entry["data_offsets"]
    values = data[start + first : start + last]
    if entry["dtype"] == "BF16":
        return bool(np.isfinite((np.frombuffer(values, "<u2").astype("<u4") << 16).view("<f4")).all())
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[entry["dtype"]]
    return bool(np.isfinite(np.frombuffer(values, kind)).all())


def tensors_digest(data: bytes) -> str:
    """A digest of names, types, shapes and values, whatever the file's metadata and their order.

    Raises ValueError if it is not a safetensors file.
    """
    header, start = read_header(data), 8 + int.from_bytes(data[:8], "little")
    parts: list[object] = []
    for name in sorted(header.keys() - {METADATA}):
        entry = header[name]
        first, last = entry["data_offsets"]
        parts += [name, entry["dtype"], entry["shape"], stable_digest(data[start + first : start + last].hex()).hex()]
    return stable_digest(*parts, size=16).hex()


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, place = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(place, list) or len(place) != 2:
        return False
    return all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in [*shape, *place])
