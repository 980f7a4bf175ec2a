"""Properties of the text: its length, its words, characters and n-grams, and where a word stands."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from skilljobs.properties.property import Property, number, yes_no
from skilljobs.properties.segments import body, words
from skilljobs.tasks.base import Example

RAREST = 0.02
"""The share of the examples that must have a word, and that must lack it: rarer ones decide little."""
T = TypeVar("T")
MOST_WORDS, MOST_PAIRS, MOST_CHARACTERS, MOST_PLACED, MOST_ENDS = 60, 30, 20, 10, 8


def text_properties(examples: Sequence[Example]) -> list[Property]:
    """The properties of texts like those of `examples`."""
    found = [
        number("how many words the text has", lambda example: len(words(example))),
        number("how many characters the text has", lambda example: len(body(example))),
    ]
    common = _common((words(example) for example in examples), MOST_WORDS)
    for word in common:
        found.append(yes_no(f"the text has the word {word!r}", partial(_has_word, word)))
        if _repeats(word, examples):
            found.append(number(f"how often the text has the word {word!r}", partial(_count, word)))
    for pair in _common((_pairs(words(example)) for example in examples), MOST_PAIRS):
        found.append(yes_no(f"the text has {' '.join(pair)!r}", partial(_has_pair, pair)))
    for character in _common((body(example) for example in examples), MOST_CHARACTERS, _is_telling):
        found.append(yes_no(f"the text has the character {character!r}", partial(_has_character, character)))
    for word in common[:MOST_PLACED]:
        found.append(number(f"where the text first has the word {word!r}", partial(_place, word)))
    for word in _common((words(example)[:1] for example in examples), MOST_ENDS):
        found.append(yes_no(f"the text begins with the word {word!r}", partial(_stands_at, word, 0)))
    for word in _common((words(example)[-1:] for example in examples), MOST_ENDS):
        found.append(yes_no(f"the text ends with the word {word!r}", partial(_stands_at, word, -1)))
    return found


def _common(texts: Iterable[Iterable[T]], most: int, allowed: Callable[[T], bool] = lambda _: True) -> list[T]:
    """What stands in some of the texts and not in others, that which splits them most evenly first."""
    counts: Counter[T] = Counter()
    total = 0
    for text in texts:
        counts.update({item for item in text if allowed(item)})
        total += 1
    splitting = [item for item, count in counts.items() if RAREST * total <= count <= (1 - RAREST) * total]
    return sorted(splitting, key=lambda item: (abs(counts[item] - total / 2), str(item)))[:most]


def _is_telling(character: str) -> bool:
    return not character.isalpha() and not character.isspace()


def _pairs(sequence: Sequence[str]) -> list[tuple[str, str]]:
    return list(pairwise(sequence))


def _repeats(word: str, examples: Sequence[Example]) -> bool:
    return sum(words(example).count(word) > 1 for example in examples) >= RAREST * len(examples)


def _has_word(word: str, example: Example) -> bool:
    return word in words(example)


def _count(word: str, example: Example) -> int:
    return words(example).count(word)


def _has_pair(pair: tuple[str, str], example: Example) -> bool:
    return pair in _pairs(words(example))


def _has_character(character: str, example: Example) -> bool:
    return character in body(example)


def _place(word: str, example: Example) -> int | None:
    found = words(example)
    return found.index(word) + 1 if word in found else None


def _stands_at(word: str, place: int, example: Example) -> bool:
    found = words(example)
    return bool(found) and found[place] == word
