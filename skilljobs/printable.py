"""Text from data as it may be shown: what would steer a terminal or break a document is written out instead."""

import re

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 forbids even as a character reference (section 2.2)."""


def printable(text: str) -> str:
    r"""`text` in one line, with control characters, directions of writing and the like as escapes, such as `\x1b`."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable_lines(text: str) -> str:
    """`text` as `printable` has it, but for its line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def well_formed(document: str) -> str:
    """An XML or HTML document in which every character that XML forbids is escaped."""
    return _NOT_XML.sub(lambda match: _escape(match[0]), document)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def counted(number: int, noun: str) -> str:
    """`1 layer`, `1,024 layers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
