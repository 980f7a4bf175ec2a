"""JSON that can stand in a page: nothing in it ends the element that holds it or begins another."""

import json
from typing import Any

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def safe_json(value: Any) -> str:
    r"""Return JSON without `<`, `>`, `&` and the line separators of JavaScript: they are written as `\u003c`.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)
