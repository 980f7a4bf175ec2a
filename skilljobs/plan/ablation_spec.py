"""What a user says about silencing neurons: which, how, and compared with what."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.options import declared_options, option
from skilljobs.stats.layout import ALL
from skilljobs.stats.neurons import NeuronName

Baseline = Literal["none", "mean", "resample"]


@dataclass(frozen=True)
class Rule:
    """An activation becomes `scale * activation + shift`, where the shift is `amount`, the mean, or another unit's."""

    scale: float
    amount: float
    baseline: Baseline = "none"

    @classmethod
    def parse(cls, how: str) -> "Rule":
        """What `--how` says.

        Raises:
            InputError: it says nothing that is known.
        """
        kind, _, number = how.partition(":")
        if how in ("mean", "resample"):
            return cls(0.0, 0.0, "mean" if how == "mean" else "resample")
        if how == "zero":
            return cls(0.0, 0.0)
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if kind not in ("scale", "set") or not math.isfinite(amount):
            raise InputError(f"--how {how!r}: it is mean, zero, resample, scale:X or set:X, where X is a number")
        return cls(amount, 0.0) if kind == "scale" else cls(0.0, amount)


@dataclass(frozen=True)
class AblationSpec:
    """One `skilljobs ablate`. Every field is an option of the command and of `Run.ablate`."""

    metric: str | None = option(None, "Silence the neurons of largest |r| with this metric on half 0.", metavar="M")
    population: str = option(ALL, "Where they are ranked: all, COLUMN=value or within:COLUMN.", metavar="P")
    k: str = option("1,10,100", "How many of the strongest: sizes with commas between them.", metavar="K[,K...]")
    neuron: tuple[str, ...] = option(
        (), "Silence exactly these neurons, together; repeat for more.", metavar="LAYER[/EXPERT]/NEURON"
    )
    specificity: str | None = option(
        None, "For each value of COLUMN, silence the neurons of its own 0/1 metric.", metavar="COLUMN"
    )
    how: str = option("mean", "What activations become; scale:X steers.", metavar="mean|zero|scale:X|set:X|resample")
    at: Literal["prompt", "all"] = option("prompt", "At the soft prompt alone, or from the text to the answer's end.")
    draws: int = option(20, "Random sets of the same size and kind to compare with.", metavar="R", minimum=2)
    outcome: Literal["margin", "target_logprob"] | None = option(
        None, "What p and the interval are about.", default_text="margin; target_logprob without choices"
    )
    seed: int = option(0, "Seed of the random sets and of the bootstrap.", metavar="N")

    def __post_init__(self) -> None:
        for declared in declared_options(type(self)):
            object.__setattr__(self, declared.name, declared.checked(getattr(self, declared.name)))
        given = [bool(self.metric), bool(self.neuron), bool(self.specificity)]
        if sum(given) != 1:
            raise InputError("say which neurons: one of --metric M, --neuron LAYER/NEURON and --specificity COLUMN")
        if self.how == "resample" and self.at == "all":
            raise InputError("--how resample takes another unit's activations, and texts differ in length: --at prompt")
        self.rule, self.sizes, self.neurons  # noqa: B018  refuse what they cannot read

    @cached_property
    def rule(self) -> Rule:
        """What `how` says; errors as `Rule.parse`."""
        return Rule.parse(self.how)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that `k` lists, ascending.

        Raises:
            InputError: one of them is no whole number from 1 on.
        """
        parts = self.k.split(",")
        if not all(part.strip().isdecimal() and 0 < int(part) < 10**9 for part in parts):
            raise InputError(f"-k {self.k!r}: write whole numbers from 1 on with commas between them, such as 1,10,100")
        return tuple(sorted({int(part) for part in parts}))

    @cached_property
    def neurons(self) -> tuple[NeuronName, ...]:
        """The neurons that are listed, in order and each once; errors as `NeuronName.parse`."""
        return tuple(sorted({NeuronName.parse(text) for text in self.neuron}, key=lambda name: name.order))

    def as_json(self) -> dict[str, Any]:
        """Every option by name, as JSON values; those that have no bearing on others are as their default."""
        values = {declared.name: getattr(self, declared.name) for declared in declared_options(type(self))}
        values |= {"k": ",".join(map(str, self.sizes)), "neuron": [str(name) for name in self.neurons]}
        if self.neuron:
            values |= {"k": None, "population": ALL}
        return dict(json.loads(json.dumps(values)))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "AblationSpec":
        """A spec from option values by name, as they are written in Python.

        Raises:
            InputError: there is no such option, or it has a bad value.
        """
        known = {declared.name for declared in declared_options(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"ablate has no option {name!r}; it has {', '.join(sorted(known))}")
        k = values.get("k")
        if isinstance(k, int):
            k = str(k)
        elif isinstance(k, Sequence) and not isinstance(k, str):
            k = ",".join(map(str, k))
        return cls(**{**values, **({} if k is None else {"k": k})})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "AblationSpec":
        """The spec in an ablation's record."""
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in stored.items()}
        values = {name: value for name, value in values.items() if value is not None}
        return cls(**values)

    def options(self) -> list[str]:
        """The words of a command that give these options."""
        words: list[str] = []
        for declared in declared_options(type(self)):
            value = getattr(self, declared.name)
            if value != declared.default:
                words += declared.words(value)
        return words

    def id_in(self, run_fingerprint: str) -> str:
        """The name of the ablation: the same options on the same run find it again."""
        return stable_digest(run_fingerprint, json.dumps(self.as_json(), sort_keys=True), size=4).hex()
