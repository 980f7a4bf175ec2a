"""Reading the header of a safetensors file without torch."""

import json
from typing import Any


def read_header(data: bytes) -> dict[str, Any]:
    """Return the header in the file's bytes, which is JSON after an 8-byte length.

    Raises:
        ValueError: The bytes do not begin with such a header.
    """
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))
