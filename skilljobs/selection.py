"""Which neurons of a model a job reads. Imports no torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from skilljobs.errors import InputError
from skilljobs.hashing import digest_of_files

NEURONS = "neurons"
UNITS = (NEURONS, "heads", "residual", "experts")
_NOUNS = {NEURONS: "neuron", "heads": "head", "residual": "coordinate", "experts": "expert", "sae": "feature"}
SAE = "sae:"
"""What the directory of a sparse autoencoder follows in `--units`."""
_AUTOENCODER_FILES = ("*.safetensors", "*.npz", "*.json")
UNITS_ENTRY_POINTS = "skilljobs.units"

Range = tuple[int, int]
"""The first and the last of some layers or experts."""


@dataclass(frozen=True)
class Selection:
    """The neurons that are read: all of them, unless something narrows them."""

    ffn: str | None = None
    """A pattern that names the down projections; None: the names that are known (`neurons/architectures.py`)."""
    layers: Range | None = None
    experts: Range | None = None
    """Neurons outside of experts are read in any case."""
    units: str = NEURONS
    """What is read in place of neurons."""

    @classmethod
    def of(cls, ffn: str | None, layers: str | None, experts: str | None, units: str = NEURONS) -> "Selection":
        """The selection that the options `--ffn`, `--layers`, `--experts` and `--units` make.

        Raises:
            InputError: there are no such units, or layers or experts are no range.
        """
        if units not in UNITS and not units.startswith(SAE):
            from importlib.metadata import entry_points  # takes a third of the time to import skilljobs

            known = [*UNITS, *(point.name for point in entry_points(group=UNITS_ENTRY_POINTS))]
            if units not in known:
                raise InputError(f"there are no units {units!r}: they are {', '.join(known)} and {SAE}DIR")
        if experts is not None and units != NEURONS:
            raise InputError(f"--experts narrows the neurons of experts, and --units {units} reads none")
        return cls(ffn, _range("--layers", layers), _range("--experts", experts), units)


def noun_of(units: str) -> str:
    """What one of these units is called."""
    return _NOUNS.get(units.partition(":")[0], "unit")


def autoencoder_digest(units: str) -> str:
    """The digest of the files of the autoencoder that `sae:DIR` names.

    Raises:
        InputError: there is no such directory, or there are no files in it.
    """
    directory = Path(units.removeprefix(SAE)).expanduser()
    files = {path for pattern in _AUTOENCODER_FILES for path in directory.glob(pattern)}
    if not files:
        raise InputError(f"there is no autoencoder in {str(directory)!r}: no {', '.join(_AUTOENCODER_FILES)}")
    return digest_of_files(files)


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
