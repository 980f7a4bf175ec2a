"""Natural language inference: pairs of a premise and a hypothesis, in any of the formats used by released data sets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from skilljobs.errors import InputError
from skilljobs.tasks.row_files import is_on_hub, read_tab_separated, read_table

LABELS = ("entailment", "non-entailment")
"""The two labels. The order is the same everywhere: index 0 is entailment."""
NO_GOLD_LABEL = ("-", "", "-1", "None")
"""Labels of pairs on which annotators did not agree (MNLI, SNLI). Such pairs are skipped; they are not bad rows."""

_LABEL_OF = {
    **dict.fromkeys(("entailment", "e", "0"), 0),
    **dict.fromkeys(("neutral", "contradiction", "non-entailment", "not_entailment", "n", "c", "1", "2"), 1),
}
_PREMISE, _HYPOTHESIS, _LABEL = (
    ("sentence1", "premise", "Premise"),
    ("sentence2", "hypothesis", "Hypothesis"),
    ("gold_label", "label", "Label"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A premise, a hypothesis and a label, which is an index into `LABELS`."""

    premise: str
    hypothesis: str
    label: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the pair in a row of MNLI, HANS or a similar data set; three classes become two.

        Raises:
            KeyError: a column is missing.
            ValueError: the label is unknown, or a sentence is empty.
        """
        label = str(_first(row, _LABEL))
        if label not in _LABEL_OF:
            raise ValueError(f"the label is {label!r}, which is not one of {', '.join(_LABEL_OF)}")
        return cls(_plain(_first(row, _PREMISE)), _plain(_first(row, _HYPOTHESIS)), _LABEL_OF[label])


def read_pairs(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a file of pairs.

    The file is tab-separated as those of MNLI and HANS are (.tsv, .txt), JSON lines, CSV or Parquet, or a data set of
    the Hugging Face hub.

    Raises:
        InputError: the file cannot be read, or its columns are not those of pairs.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix
    tab_separated = kind in (".tsv", ".txt") and not is_on_hub(path)
    for row in read_tab_separated(path) if tab_separated else read_table(path):
        for names in (_PREMISE, _HYPOTHESIS, _LABEL):
            if not any(name in row for name in names):
                raise InputError(f"{path} has no column {' or '.join(names)}, so it is not a file of NLI pairs")
        if str(_first(row, _LABEL)) not in NO_GOLD_LABEL:
            yield row


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in row:
            return row[name]
    raise KeyError(names[0])


def _plain(sentence: Any) -> str:
    """Return the sentence with ordinary punctuation.

    Some released sets put a space before punctuation marks (`The actor slept .`), and others do not.

    Raises:
        ValueError: the sentence is empty, or is no text.
    """
    if not isinstance(sentence, str):
        raise ValueError(f"a sentence is {sentence!r}, which is not a text")
    text = sentence.strip()
    for mark in (".", ",", "?", "!", ";"):
        text = text.replace(f" {mark}", mark)
    if not text:
        raise ValueError("a sentence is empty")
    return text
