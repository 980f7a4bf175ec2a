"""Properties of two parts of a text: which words of one stand in the other.

The heuristics of HANS are such (McCoy et al. 2019, arXiv 1902.01007): all words of the hypothesis stand in the premise,
or it stands there word for word.
"""

import itertools
from collections.abc import Sequence
from functools import partial

from skilljobs.properties.property import Property, number, pointing, yes_no
from skilljobs.properties.segments import body, labelled, words_of
from skilljobs.tasks.base import Example

NEARLY_ALL = 0.95
MOST_LABELS = 4


def overlap_properties(examples: Sequence[Example]) -> list[Property]:
    """The properties of the labelled parts that nearly all of `examples` have, and of their choices."""
    found: list[Property] = []
    for one, other in itertools.permutations(_labels(examples), 2):
        found += [
            number(f"the share of the words of {one} that stand in {other}", partial(_share, one, other)),
            yes_no(f"all words of {one} stand in {other}", partial(_all_stand, one, other)),
            yes_no(f"{one} stands in {other} word for word", partial(_stands, one, other)),
            yes_no(f"{other} begins with the words of {one}", partial(_begins, one, other)),
        ]
    for one, other in itertools.combinations(_labels(examples), 2):
        found.append(yes_no(f"{one} has more words than {other}", partial(_is_longer, one, other)))
    if any(example.choices for example in examples):
        found.append(pointing("the choice that shares most words with the text is the right one", most_shared))
    return found


def most_shared(example: Example) -> int | None:
    """The choice whose words stand in the text most often; None if two do as often, or none does."""
    text = set(words_of(body(example)))
    counts = [len(text & set(words_of(choice))) for choice in example.choices or ()]
    most = max(counts, default=0)
    return counts.index(most) if most > 0 and counts.count(most) == 1 else None


def _labels(examples: Sequence[Example]) -> list[str]:
    counted: dict[str, int] = {}
    for example in examples:
        for label, content in labelled(example).items():
            counted[label] = counted.get(label, 0) + bool(words_of(content))
    return [label for label, count in counted.items() if count >= NEARLY_ALL * len(examples)][:MOST_LABELS]


def _both(one: str, other: str, example: Example) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    parts = labelled(example)
    first, second = words_of(parts.get(one, "")), words_of(parts.get(other, ""))
    return (first, second) if first and second else None


def _share(one: str, other: str, example: Example) -> float | None:
    both = _both(one, other, example)
    return None if both is None else sum(word in both[1] for word in both[0]) / len(both[0])


def _all_stand(one: str, other: str, example: Example) -> bool | None:
    both = _both(one, other, example)
    return None if both is None else set(both[0]) <= set(both[1])


def _stands(one: str, other: str, example: Example) -> bool | None:
    both = _both(one, other, example)
    if both is None:
        return None
    size = len(both[0])
    return any(both[1][start : start + size] == both[0] for start in range(len(both[1]) - size + 1))


def _begins(one: str, other: str, example: Example) -> bool | None:
    both = _both(one, other, example)
    return None if both is None else both[1][: len(both[0])] == both[0]


def _is_longer(one: str, other: str, example: Example) -> bool | None:
    both = _both(one, other, example)
    return None if both is None else len(both[0]) > len(both[1])
