"""What a user says about looking for shortcuts: whose properties, and how they are judged."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.hashing import digest_of_files, stable_digest
from skilljobs.options import absolute_path, declared_options, option
from skilljobs.plan.ablation_spec import Rule
from skilljobs.properties.own_properties import digest_of_own, installed_properties
from skilljobs.stats.layout import ALL
from skilljobs.stats.neurons import NeuronName
from skilljobs.tasks.row_files import is_on_hub
from skilljobs.tasks.text_files import check_file

PROPERTIES_VERSION = 2
"""Goes up when the project's own properties, or how they are judged, change: an older search is then no answer."""


@dataclass(frozen=True)
class ShortcutsSpec:
    """One `skilljobs shortcuts`. Every field is an option of the command and of `Run.shortcuts`."""

    metric: str | None = option(None, "The neurons of largest |r| with this metric on half 0.", metavar="M")
    population: str = option(ALL, "Which examples: all, COLUMN=value or within:COLUMN.", metavar="P")
    k: int = option(10, "How many of the strongest neurons.", metavar="K", minimum=1)
    neuron: tuple[str, ...] = option((), "These neurons; repeat for more.", metavar="LAYER[/EXPERT]/NEURON")
    property: tuple[str, ...] = option(
        (), "A property of your own: a function of an example; repeat for more.", metavar="FILE.py:function"
    )
    data: str | None = option(
        None,
        "Matched examples, in the form of the run's data, for properties that all of the run's examples have.",
        metavar="FILE",
        is_path=True,
        default_text="none",
    )
    limit: int = option(1000, "Examples of each half, in whole shards.", metavar="N", minimum=20)
    how: str = option("mean", "What silenced activations become.", metavar="mean|zero|scale:X|set:X|resample")
    at: Literal["prompt", "all"] = option("prompt", "At the soft prompt alone, or from the text to the answer's end.")
    draws: int = option(199, "Random sets of neurons to compare with.", metavar="R", minimum=19)
    seed: int = option(0, "Seed of permutations, random sets and bootstrap.", metavar="N")

    def __post_init__(self) -> None:
        for declared in declared_options(type(self)):
            object.__setattr__(self, declared.name, declared.checked(getattr(self, declared.name)))
        if bool(self.metric) == bool(self.neuron):
            raise InputError("say which neurons: one of --metric M and --neuron LAYER/NEURON")
        if self.how == "resample" and self.at == "all":
            raise InputError("--how resample takes another unit's activations, and texts differ in length: --at prompt")
        if self.data is not None and self.how == "resample":
            raise InputError(
                "--how resample takes activations of the run, all of which have the property: not with --data"
            )
        self.rule, self.neurons  # noqa: B018  refuse what they cannot read

    @cached_property
    def rule(self) -> Rule:
        """What `how` says; errors as `Rule.parse`."""
        return Rule.parse(self.how)

    @cached_property
    def neurons(self) -> tuple[NeuronName, ...]:
        """The neurons that are listed, in order and each once; errors as `NeuronName.parse`."""
        return tuple(sorted({NeuronName.parse(text) for text in self.neuron}, key=lambda name: name.order))

    def as_json(self) -> dict[str, Any]:
        """Every option by name, as JSON values; of functions, what identifies their code."""
        values = {declared.name: getattr(self, declared.name) for declared in declared_options(type(self))}
        values["neuron"] = [str(name) for name in self.neurons]
        values["property"] = [
            f"{digest}:{name.rpartition(':')[2]}"
            for digest, name in zip(digest_of_own(self.property), self.property, strict=True)
        ]
        values["data"] = None if self.data is None else digest_of_data(self.data)
        values |= {"installed": installed_properties(), "version": PROPERTIES_VERSION}
        if self.neuron:
            values["k"] = None
        return dict(json.loads(json.dumps(values)))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "ShortcutsSpec":
        """A spec from option values by name, as they are written in Python.

        Raises:
            InputError: there is no such option, or it has a bad value.
        """
        known = {declared.name for declared in declared_options(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"shortcuts has no option {name!r}; it has {', '.join(sorted(known))}")
        return cls(**values)

    def options(self) -> list[str]:
        """The words of a command that give these options, from whatever folder."""
        words: list[str] = []
        for declared in declared_options(type(self)):
            value = getattr(self, declared.name)
            if declared.name == "data" and value is not None:
                value = absolute_path(value)
            if declared.name == "property":
                value = tuple(_absolute(name) for name in value)
            if value != declared.default:
                words += declared.words(value)
        return words

    def id_in(self, run_fingerprint: str) -> str:
        """The name of the search: the same options on the same run find it again."""
        return stable_digest(run_fingerprint, json.dumps(self.as_json(), sort_keys=True), size=4).hex()


def digest_of_data(name: str) -> str:
    """What identifies the examples in a file: the digest of its contents, or the name of a data set on the hub.

    Raises:
        InputError: there is no such file.
    """
    if is_on_hub(name):
        return name
    path = Path(os.path.expanduser(name))
    check_file(path)
    return digest_of_files([path])


def _absolute(name: str) -> str:
    path, _, function = name.rpartition(":")
    return f"{os.path.abspath(os.path.expanduser(path))}:{function}"
