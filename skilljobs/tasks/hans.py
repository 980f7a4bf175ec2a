"""HANS: does a model infer, or does it follow a syntactic heuristic? (McCoy et al. 2019, ACL; arXiv 1902.01007.)

This is the second study of arXiv 2511.21610. The soft prompt is tuned on ordinary NLI pairs, where the heuristics
mostly work, and the neurons are read on pairs where they fail as often as they work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.options import option
from skilljobs.tasks.base import Example, Task, TaskOptions
from skilljobs.tasks.hans_pairs import hans_like_pairs, nli_pairs
from skilljobs.tasks.nli import LABELS, Pair, read_pairs

TEMPLATE = "Premise: {premise}\nHypothesis: {hypothesis}\nIs it {entailment} or {non_entailment}?\nAnswer:"


@dataclass(frozen=True)
class HansOptions(TaskOptions):
    """The options of HANS: the words of the two answers."""

    label_words: tuple[str, str] | None = option(
        None,
        "The two answers.",
        metavar="ENTAILMENT NON-ENTAILMENT",
        default_text="entailment non-entailment",
    )

    def __post_init__(self) -> None:
        if self.label_words is not None and len(set(self.label_words)) != 2:
            raise InputError(f"--label-words are {' and '.join(self.label_words)}; the two words must be different")


class Hans(Task):
    """HANS: entailment or not, with three syntactic heuristics; tuned on NLI pairs (`--train-data`)."""

    name = "hans"
    options_type = HansOptions
    options: HansOptions
    group = "heuristic"
    choice_probabilities = {"p_entailment": 0}  # noqa: RUF012  it is never modified
    accepts = frozenset({"train_data", "template", "unit"})

    def rows(self) -> Iterable[Mapping[str, Any]]:
        if self.options.data is None:
            return hans_like_pairs(self.options.seed)
        return read_pairs(self.options.data)

    def training_rows(self) -> Iterable[Mapping[str, Any]]:
        if self.options.train_data is None:
            return nli_pairs(self.options.seed)
        return read_pairs(self.options.train_data)

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        pair = Pair.of(row)
        heuristic, subcase, template = (row[name] for name in ("heuristic", "subcase", "template"))
        return Example(
            example_id=str(row.get("pairID") or number),
            unit=str(row[self.options.unit_column]) if self.options.unit_column else str(template),
            split=str(row.get("split") or "test"),
            text=self._text(pair),
            choices=self._choices,
            answer=pair.label,
            metrics={"heuristic": str(heuristic), "label": LABELS[pair.label], "subcase": str(subcase)},
        )

    def training_example(self, row: Mapping[str, Any], number: int) -> Example:
        """Turn row `number` (counted from 1) of `training_rows` into an example. Pairs of one premise are a unit."""
        pair = Pair.of(row)
        return Example(
            example_id=str(number),
            unit=f"premise {stable_digest(pair.premise).hex()}",
            split=str(row.get("split") or "train"),
            text=self._text(pair),
            choices=self._choices,
            answer=pair.label,
        )

    @property
    def _words(self) -> tuple[str, ...]:
        return self.options.label_words or LABELS

    @property
    def _choices(self) -> tuple[str, ...]:
        return tuple(f" {word}" for word in self._words)

    def _text(self, pair: Pair) -> str:
        entailment, non_entailment = self._words
        return (self.options.template or TEMPLATE).format(
            premise=pair.premise, hypothesis=pair.hypothesis, entailment=entailment, non_entailment=non_entailment
        )
