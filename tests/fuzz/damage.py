"""Bytes and JSON that are damaged in ways that a shrinking example shows, and how many cases a test tries."""

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("FUZZ_CASES", "0"))
"""Cases of each property; 0 for a few that are the same every time."""
FEW = 30

fuzzed: Callable[[Any], Any] = settings(
    max_examples=CASES or FEW,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

ODD_TEXT = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "NA", "nan", "inf", "1e308", "-0", "9" * 30, "true", "\x1b[31m", "\x00", "\ud800", "[1, 2]", "0"]
    ),
)
ODD_NUMBER = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([1e308, -1e150, 2**63, -(2**63), 10**400, 5e-324]),
)
SCALAR = st.one_of(st.none(), st.booleans(), ODD_NUMBER, ODD_TEXT)
JSON_VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4), max_leaves=8
)


@st.composite
def damaged(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of a source with up to four changes: bytes changed, taken out, put in, repeated, or an end cut off."""
    data = bytearray(draw(sources))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(1, 12))
        match draw(st.sampled_from(["change", "remove", "insert", "repeat", "cut"])):
            case "change":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "remove":
                del data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=length))
            case "repeat":
                data[at:at] = data[at : at + length]
            case "cut":
                del data[at:]
    return bytes(data)


@st.composite
def damaged_json(draw: st.DrawFn, source: bytes) -> bytes:
    """A JSON text in which up to three values are replaced by others of any type, taken out, or put in."""
    stored = json.loads(source)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = {"": stored}
        key: Any = ""
        while isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 4)):
            place = place[key]
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[key] = draw(JSON_VALUE)
            case "remove" if key != "":
                del place[key]
            case _ if isinstance(place, dict) and key != "":
                place[draw(ODD_TEXT)] = draw(JSON_VALUE)
        stored = place[""] if key == "" and "" in place else stored
    return json.dumps(stored).encode("utf-8", "surrogatepass")
