"""Safetensors files without torch: their header, and a digest of the tensors alone."""

import json
from typing import Any

from skilljobs.hashing import stable_digest


def read_header(data: bytes) -> dict[str, Any]:
    """The header of the file's bytes: JSON after its length in 8 bytes. Raises ValueError if there is none."""
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))


def tensors_digest(data: bytes) -> str:
    """A digest of names, types, shapes and values, whatever the file's metadata and their order.

    Raises ValueError if it is not a safetensors file.
    """
    header, start = read_header(data), 8 + int.from_bytes(data[:8], "little")
    parts: list[object] = []
    for name in sorted(header.keys() - {"__metadata__"}):
        entry = header[name]
        first, last = entry["data_offsets"]
        parts += [name, entry["dtype"], entry["shape"], stable_digest(data[start + first : start + last].hex()).hex()]
    return stable_digest(*parts, size=16).hex()
