"""The examples of one half that a search for shortcuts looks at, with everything known of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from skilljobs.analysis.distributions import metric_values
from skilljobs.analysis.scored_shards import examples_with_scores
from skilljobs.errors import InputError
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.stats.layout import ALL
from skilljobs.store.examples import examples_from
from skilljobs.store.reader import RunReader
from skilljobs.store.shards import examples_name
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_columns import external_columns
from skilljobs.tasks.external_metrics import group_populations

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class HalfExamples:
    """Examples of a population in one half. Arrays have an entry for each of them.

    `metric`: the values of the metric in question, NaN where there is none; None if there is no metric. `correct` and
    `confidence`: of the run's scores, NaN without choices. `centred_on`: the group whose mean is taken off. `matched`:
    the combination of groups that examples are compared within. `places`: of each, its place among all examples of
    `shards` that were not set aside.
    """

    shards: tuple[int, ...]
    examples: list[Example]
    places: Codes
    units: Codes
    centred_on: Codes
    matched: Codes
    metric: Array | None
    correct: Array
    confidence: Array


Halves = tuple[HalfExamples, HalfExamples]


def shards_up_to(run: RunReader, half: int, limit: int) -> tuple[int, ...]:
    """The first shards of a half that have `limit` examples together, or all of them. Shards are random samples."""
    scored = run.scores().filter(pl.col("half") == half).select(pl.len()).collect().item()
    of_half = run.record.halves[half]
    each = max(1.0, scored / max(1, len(of_half)))
    return of_half[: max(1, int(-(-limit // each)))]


def halves_of(run: RunReader, spec: ShortcutsSpec) -> Halves:
    """The examples of both halves that a search looks at; errors as `read_half`."""
    first, second = (read_half(run, half, spec.limit, spec.metric, spec.population) for half in (0, 1))
    first, second = without_common_lines([first, second])
    return first, second


def without_common_lines(halves: Sequence[HalfExamples]) -> Any:
    """The same halves without the lines that all of their texts begin with."""
    common = _common_lines([example.text for half in halves for example in half.examples])
    return tuple(
        replace(half, examples=[replace(example, text=example.text[common:]) for example in half.examples])
        for half in halves
    )


def _common_lines(texts: Sequence[str]) -> int:
    """How many characters of whole lines all texts begin with: worked examples and the like, which tell nothing."""
    first, last = min(texts), max(texts)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    end = first.rfind("\n", 0, same) + 1
    return end if all(len(text) > end for text in texts) else 0


def read_half(run: RunReader, half: int, limit: int, metric: str | None, population: str) -> HalfExamples:
    """The examples of half 0 or 1 of a run of one soft prompt, up to about `limit` of them.

    Raises:
        InputError: none of them is in the population.
    """
    shards = shards_up_to(run, half, limit)
    aside = {example.example_id for example in run.record.set_aside}
    stored = (example for shard in shards for example in examples_from(run.folder.read(examples_name(shard))))
    every = [example for example in stored if example.example_id not in aside]
    centred_on = _population_codes(run, every, population)
    inside = np.flatnonzero(centred_on >= 0)
    if len(inside) == 0:
        raise InputError(f"no example of half {half} is in the population {population!r}")
    examples = [every[place] for place in inside]
    frame = examples_with_scores(run, pl.DataFrame({"example_id": [example.example_id for example in examples]}))
    _, units = np.unique([example.unit for example in examples], return_inverse=True)
    return HalfExamples(
        shards=shards,
        examples=examples,
        places=inside,
        units=units,
        centred_on=centred_on[inside],
        matched=codes_of_groups(examples, run.record.groups),
        metric=None if metric is None else metric_values(frame, run.layout(), metric),
        correct=frame["correct"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        confidence=frame["confidence"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
    )


def _population_codes(run: RunReader, examples: Sequence[Example], population: str) -> Codes:
    """The group of each example whose mean is taken off, -1 for those that are not in the population."""
    if population == ALL:
        return np.zeros(len(examples), np.int64)
    names = run.layout().members_of(population)
    columns = [name for name, populations in run.record.groups.items() if set(names) <= set(populations)]
    groups = [group for name in columns for group in group_populations(examples, name) if group.name in names]
    codes = np.full(len(examples), -1)
    for code, group in enumerate(groups):
        codes[[group.has(example) for example in examples]] = code
    return codes


def codes_of_groups(examples: Sequence[Example], columns: Iterable[str]) -> Codes:
    """The combination of values that each example has in those of `columns` that are there."""
    found: dict[tuple[str, ...], int] = {}
    there = {source.name for source in external_columns(examples) if any(source.value(e) is not None for e in examples)}
    groups_of = [group_populations(examples, column) for column in columns if column in there]
    combinations = [tuple(g.name for groups in groups_of for g in groups if g.has(example)) for example in examples]
    return np.array([found.setdefault(names, len(found)) for names in combinations], np.int64)
