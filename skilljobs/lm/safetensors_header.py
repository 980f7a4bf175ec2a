"""The header of a safetensors file, read without torch."""

import json
from typing import Any


def read_header(data: bytes) -> dict[str, Any]:
    """The header of the file's bytes: JSON behind its length in 8 bytes. Raises ValueError if it is none."""
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))
