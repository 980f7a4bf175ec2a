"""Which neurons of a model a job reads. Imports no torch."""

import re
from dataclasses import dataclass

from skilljobs.errors import InputError

Range = tuple[int, int]
"""The first and the last of some layers or experts."""


@dataclass(frozen=True)
class Selection:
    """The neurons that are read: all of them, unless something narrows them."""

    ffn: str | None = None
    """A pattern that names the down projections; None: the names that are known (`lm/architectures.py`)."""
    layers: Range | None = None
    experts: Range | None = None
    """Neurons outside of experts are read in any case."""

    @classmethod
    def of(cls, ffn: str | None, layers: str | None, experts: str | None) -> "Selection":
        """The selection that the options `--ffn`, `--layers` and `--experts` make.

        Raises:
            InputError: one of the last two is no range.
        """
        return cls(ffn, _range("--layers", layers), _range("--experts", experts))


def is_in(chosen: Range | None, number: int) -> bool:
    """Whether a layer or expert is chosen."""
    return chosen is None or chosen[0] <= number <= chosen[1]


def check_range(option: str, chosen: Range | None, count: int) -> None:
    """Refuse a range that the model does not have all of.

    Raises:
        InputError: it ends beyond `count`.
    """
    if chosen is not None and chosen[1] >= count:
        kind = option.strip("-")
        has = f"the model has {count} {kind}, counted from 0" if count else f"the model has no {kind}"
        raise InputError(f"{option} {chosen[0]}-{chosen[1]}: {has}")


def _range(option: str, text: str | None) -> Range | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first:
        raise InputError(f"{option} {text!r} is not a range: write A-B, both counted from 0, such as {option} 10-20")
    return first, last
