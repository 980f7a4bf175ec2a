"""The models of a series, as they are asked for: names, patterns of directories, or revisions of one model."""

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skilljobs.errors import InputError
from skilljobs.spec import RESERVED_NAMES

_WILD = frozenset("*?[")


@dataclass(frozen=True)
class AskedCheckpoint:
    """One model of a series."""

    label: str
    """What it is called in tables and figures."""
    model: str
    revision: str | None = None

    @property
    def family(self) -> str:
        """What it has in common with its siblings: where it is, with # for the numbers in its name."""
        if self.revision is not None:
            return self.model
        path = Path(os.path.expanduser(self.model))
        parent = path.resolve().parent if path.is_dir() else path.parent
        return f"{parent}/{re.sub(r'[0-9]+', '#', path.name)}"


def checkpoints_asked(models: Sequence[str], revisions: Sequence[str] = ()) -> list[AskedCheckpoint]:
    """The models of a series, in order.

    Args:
        models: ids, directories, or patterns of directories, such as `run/step-*`. What a pattern matches comes in the
            order of the numbers in its names: step-900 before step-1000.
        revisions: of the one model that `models` names.

    Raises:
        InputError: they are fewer than two, one is named twice, or a pattern matches no directory.
    """
    found = [name for model in models for name in _matches(model)]
    if revisions:
        if len(found) != 1 or found[0] in RESERVED_NAMES or os.path.isdir(os.path.expanduser(found[0])):
            raise InputError("--revisions are those of one model of the Hugging Face hub: name that with --model")
        pairs: list[tuple[str, str | None]] = [(found[0], revision) for revision in revisions]
        labels = list(revisions)
    else:
        pairs = [(name, None) for name in found]
        labels = [Path(name).name for name in found]
    if len(pairs) < 2:
        raise InputError("a series has two models or more: --model again, a pattern of directories, or --revisions")
    twice = [" ".join(filter(None, pair)) for pair, count in Counter(map(_place, pairs)).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice in the series")
    if len(set(labels)) < len(labels):
        labels = [model for model, _ in pairs]
    return [AskedCheckpoint(label, *pair) for label, pair in zip(labels, pairs, strict=True)]


def _place(pair: tuple[str, str | None]) -> tuple[str, str | None]:
    """A model by where it is: a directory may be named in several ways."""
    model, revision = pair
    directory = os.path.expanduser(model)
    return (os.path.realpath(directory) if os.path.isdir(directory) else model), revision


def _matches(model: str) -> list[str]:
    if not _WILD & set(model) or os.path.isdir(os.path.expanduser(model)):
        return [model]
    found = [name for name in glob.glob(os.path.expanduser(model)) if os.path.isdir(name)]
    if not found:
        raise InputError(f"--model {model} matches no directory")
    return in_order(found)


def in_order(names: Sequence[str]) -> list[str]:
    """Names in the order of the numbers in them."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
