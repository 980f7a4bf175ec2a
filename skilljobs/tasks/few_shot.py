"""Worked examples in front of every text, drawn from the examples to tune on."""

from collections.abc import Sequence
from dataclasses import dataclass

from skilljobs.errors import InputError
from skilljobs.hashing import stable_hash
from skilljobs.tasks.base import Example

SEPARATOR = "\n\n"
"""What stands between worked examples, and between the last one and the text."""


@dataclass(frozen=True)
class Shots:
    """The worked examples of a job, the same ones in the same order for every text."""

    examples: tuple[Example, ...]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """The text of each, and its right answer."""
        return [(shot.text, shot.answer_text) for shot in self.examples]

    def in_front_of(self, text: str) -> str:
        """`text` behind the worked examples."""
        return SEPARATOR.join([*(shot + answer for shot, answer in self.turns), text])

    def are_akin_to(self, example: Example) -> bool:
        """Whether an example is one of these, or of one unit with one of these, so that it would give itself away."""
        return example.unit in {shot.unit for shot in self.examples}


def draw_shots(examples: Sequence[Example], count: int, seed: int) -> Shots:
    """Draw `count` examples of the split `train`, by a hash of their ids and of `seed`.

    An example whose text is also that of a validation or test example is not drawn, nor is a text drawn twice. As a
    unit is in one split only, nothing of a unit that is tested is drawn.

    Raises:
        InputError: there are not enough examples.
    """
    seen = {example.text for example in examples if example.split != "train"}
    train = [example for example in examples if example.split == "train"]
    drawn: list[Example] = []
    for example in sorted(train, key=lambda example: stable_hash("shot", seed, example.example_id)):
        if len(drawn) == count:
            break
        if example.text not in seen:
            drawn.append(example)
            seen.add(example.text)
    if len(drawn) < count:
        raise InputError(f"--few-shot {count} needs as many train examples of different texts; there are {len(drawn)}")
    return Shots(tuple(drawn))
