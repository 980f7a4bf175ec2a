"""Worked examples in front of every text, drawn from the examples to tune on."""

from dataclasses import dataclass

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

    @property
    def units(self) -> set[str]:
        """Their units: an example of one of these would give itself away."""
        return {shot.unit for shot in self.examples}
