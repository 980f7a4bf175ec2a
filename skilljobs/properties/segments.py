"""The parts of a text: its lines and their labels, its words, and its numbers, without the choices that it shows."""

import re
from collections.abc import Sequence
from functools import lru_cache

from skilljobs.tasks.base import Example

_LABELLED = re.compile(r"\s*([A-Za-z][\w \-]{0,30}):[ \t]*(.*)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")  # noqa: RUF001  the apostrophe of running text
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?![\w]|\.\d)")
_KEPT = 1 << 16
ORDINALS = ("first", "second", "third", "fourth")


@lru_cache(_KEPT)
def _parts(text: str, choices: tuple[str, ...] | None) -> tuple[tuple[str | None, str], ...]:
    shown = {choice.strip() for choice in choices or ()}
    parts: list[tuple[str | None, str]] = []
    for line in text.splitlines():
        match = _LABELLED.fullmatch(line)
        label, content = (match[1], match[2].strip()) if match else (None, line.strip())
        if content and content not in shown:
            parts.append((label, content))
    return tuple(parts)


def body(example: Example) -> str:
    """The text without labels, and without lines that show a choice."""
    return "\n".join(content for _, content in _parts(example.text, example.choices))


def labelled(example: Example) -> dict[str, str]:
    """By label, what stands behind it (`Premise: ...`), for labels that stand once in the text."""
    parts = _parts(example.text, example.choices)
    labels = [label for label, _ in parts]
    return {label: content for label, content in parts if label is not None and labels.count(label) == 1}


@lru_cache(_KEPT)
def words_of(text: str) -> tuple[str, ...]:
    """The words and numbers of a text in lower case, in order."""
    return tuple(word.lower() for word in _WORD.findall(text))


def words(example: Example) -> tuple[str, ...]:
    """The words of `body`."""
    return words_of(body(example))


def numbers(example: Example) -> list[int]:
    """The whole numbers in `body`, in order."""
    return [int(found) for found in _NUMBER.findall(body(example)) if len(found) < 300]


def whole_number(text: str) -> int | None:
    """The whole number that a text is, or None."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,300}", text) else None


def usual(counts: Sequence[int], share: float = 0.95) -> int | None:
    """The number that nearly all of `counts` are, or None."""
    most = max(set(counts), key=counts.count, default=None)
    return most if most is not None and counts.count(most) >= share * len(counts) else None
