"""What a user may have meant by a name that does not exist."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

LISTED = 20
"""Names that are listed at most."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """` (did you mean 'confidence'?)`, or nothing if no known name is close to `name`."""
    inside = [other for other in known if name and name.casefold() in other.casefold()]
    close = list(dict.fromkeys([*get_close_matches(name, list(known), 3, 0.7), *inside]))[:3]
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def shortened(names: Sequence[str]) -> str:
    """The names with commas between them; of many, the first ones and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:LISTED])} and {more:,} more"
