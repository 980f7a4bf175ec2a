"""What a user says about estimating the effect of every neuron, and what travels to a scorer of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.options import declared_options, option
from skilljobs.stats.effect_sums import Outcome
from skilljobs.store.effect_files import EffectsReceipt
from skilljobs.tasks.external_metrics import Population

NULL_DRAWS = 39
"""Draws of random signs: the second largest of their maxima is exceeded by chance in 5 % of cases."""


@dataclass(frozen=True)
class EffectsSpec:
    """One `skilljobs effects`. Every field is an option of the command and of `Run.effects`."""

    outcome: Literal["margin", "target_logprob"] | None = option(
        None, "What the effects are on.", default_text="margin; target_logprob without choices"
    )

    def __post_init__(self) -> None:
        for declared in declared_options(type(self)):
            object.__setattr__(self, declared.name, declared.checked(getattr(self, declared.name)))

    def as_json(self) -> dict[str, Any]:
        """Every option by name, as JSON values."""
        values = {declared.name: getattr(self, declared.name) for declared in declared_options(type(self))}
        return dict(json.loads(json.dumps(values)))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "EffectsSpec":
        """A spec from option values by name, as they are written in Python.

        Raises:
            InputError: there is no such option, or it has a bad value.
        """
        known = {declared.name for declared in declared_options(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"effects has no option {name!r}; it has {', '.join(sorted(known))}")
        return cls(**values)

    def options(self) -> list[str]:
        """The words of a command that give these options."""
        return [] if self.outcome is None else ["--outcome", self.outcome]


@dataclass(frozen=True)
class ShardToEstimate:
    """A shard, the fingerprint that it is committed under, and what is estimated."""

    shard: int
    half: int
    fingerprint: str
    outcome: Outcome
    groups: tuple[Population, ...]
    """Beside all examples."""


@dataclass(frozen=True)
class EstimatedShard:
    """What became of a shard, and how fast."""

    receipt: EffectsReceipt
    tokens: int
    seconds: float
