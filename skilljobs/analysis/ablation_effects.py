"""What silencing did: from the scores of examples with each set to a row for each set and group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.analysis.ablation_sets import size_key
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.stats.bootstrap import interval_over_units
from skilljobs.stats.controls import p_among
from skilljobs.stats.layout import ALL
from skilljobs.store.ablations import AblationRecord, NeuronSet
from skilljobs.store.follow_up_schema import ABLATION
from skilljobs.store.reader import RunReader
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_metrics import external_metrics, group_populations

SCORES = ("accuracy", "confidence", "margin", "target_logprob")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class AblatedScores:
    """The scores of an ablation: of each name in `SCORES`, sets x examples, NaN where an example has none."""

    ids: list[str]
    values: dict[str, Array]
    chosen: NDArray[np.int64]
    """The choice that the model gives, sets x examples: its index, or -1 where two are as good or there are none."""

    @classmethod
    def of(cls, tables: Sequence[pa.Table], sets: int) -> "AblatedScores":
        """From the tables of the shards, each with the same examples for every set in turn."""
        columns = {"accuracy": "correct"}
        ids = [name for table in tables for name in table["example_id"].to_pylist()[: table.num_rows // sets]]
        values = {
            name: np.concatenate(
                [
                    np.array(table[columns.get(name, name)].cast(pa.float64()).to_numpy(), np.float64).reshape(sets, -1)
                    for table in tables
                ],
                axis=1,
            )
            for name in SCORES
        }
        given = [np.array(table["chosen"].fill_null(-1).to_numpy(), np.int64).reshape(sets, -1) for table in tables]
        return cls(ids, values, np.concatenate(given, axis=1))

    def outcome(self, wanted: str | None) -> str:
        """What p and the interval are about: what was asked for, or the margin where there are choices."""
        return wanted or ("target_logprob" if np.isnan(self.values["margin"]).all() else "margin")


def difference_without_change(run: RunReader, scores: AblatedScores) -> float:
    """How far log-probabilities and margins are from the run's with nothing silenced, at most.

    Relative to 1 + the log-probabilities that they are made of; infinite where only one of them has a value.
    """
    stored = run.scores().select("example_id", "target_logprob", "margin").collect()
    by_id = {row[0]: row[1:] for row in stored.iter_rows()}
    logprob, margin = (np.array([by_id[example][place] for example in scores.ids], np.float64) for place in (0, 1))
    size = 1 + np.abs(logprob) + np.nan_to_num(np.abs(logprob - margin))
    worst = 0.0
    for name, expected in (("target_logprob", logprob), ("margin", margin)):
        found = scores.values[name][0]
        if not np.array_equal(np.isnan(expected), np.isnan(found)):
            return float("inf")
        worst = max(worst, float(np.nanmax(np.abs(found - expected) / size, initial=0.0)))
    return worst


def groups_of(run: RunReader, examples: Sequence[Example], specificity: str | None) -> dict[str, NDArray[np.bool_]]:
    """The groups that effects are reported for, and which of `examples` are in each."""
    groups = {ALL: np.ones(len(examples), bool)}
    for column in run.record.groups:
        for population in group_populations(examples, column):
            groups[population.name] = np.array([population.has(example) for example in examples])
    if specificity is not None:
        names = {metric.name for metric in run.layout().metrics_by_column[specificity]}
        for metric in external_metrics(examples):
            if metric.name in names and metric.name not in groups:
                groups[metric.name] = np.array([metric.value(example) == 1 for example in examples])
    return groups


def effect_rows(
    record: AblationRecord,
    spec: AblationSpec,
    sets: Sequence[NeuronSet],
    scores: AblatedScores,
    units: Sequence[str],
    groups: Mapping[str, NDArray[np.bool_]],
    prompt: int | None = None,
) -> pa.Table:
    """The rows of an ablation, with the columns of `ablation.parquet`. `units` and `groups` are of `scores.ids`."""
    outcome = scores.outcome(spec.outcome)
    _, codes = np.unique(np.array(units), return_inverse=True)
    metrics = list(dict.fromkeys(chosen.metric for chosen in sets if chosen.kind != "none"))
    rows: list[dict[str, Any]] = []
    for group, members in groups.items():
        inside = {name: values[:, members] for name, values in scores.values.items()}
        has = ~np.isnan(inside[outcome]).any(0)
        if not has.any():
            continue
        deltas = inside[outcome][:, has] - inside[outcome][0, has]
        low, high = interval_over_units(deltas.T, codes[members][has], spec.seed)
        means = {name: _means(values) for name, values in inside.items()}
        changes = {name: _means(values - values[0]) for name, values in inside.items()}
        p, counts = _p_values(sets, deltas.mean(1), record.shared)
        common = {
            "ablation": record.ablation,
            "prompt": prompt,
            "group": group,
            "n": int(has.sum()),
            "outcome": outcome,
        }
        common |= {"how": spec.how, "at": spec.at}
        for number, chosen in enumerate(sets):
            row: dict[str, Any] = {name: _cell(means[name][number]) for name in SCORES}
            row |= {f"delta_{name}": _cell(changes[name][number]) for name in SCORES}
            is_none = chosen.kind == "none"
            row |= {
                "population": chosen.population, "set": chosen.kind, "k": chosen.k, "draw": chosen.draw,
                "ci_low": None if is_none else _cell(low[number]), "ci_high": None if is_none else _cell(high[number]),
                "p": p.get(number), "controls": counts.get(number), "seen_half1": chosen.kind == "listed",
            }  # fmt: skip
            rows += [common | row | {"metric": metric} for metric in (metrics if is_none else [chosen.metric])]
    return pa.Table.from_pylist(rows, ABLATION)


def _p_values(
    sets: Sequence[NeuronSet], effects: Array, shared: Mapping[str, float]
) -> tuple[dict[int, float], dict[int, int]]:
    """By set, p among its controls, and how many these are."""
    p: dict[int, float] = {}
    counts: dict[int, int] = {}
    for number, chosen in enumerate(sets):
        if chosen.kind in ("top", "listed"):
            of_it = [
                n for n, s in enumerate(sets) if s.kind == "random" and (s.metric, s.k) == (chosen.metric, chosen.k)
            ]
            part = shared[size_key(chosen.metric, chosen.k)]
            found = p_among(effects[[number]], effects[of_it][:, None], part)
            counts[number] = len(of_it)
            if not np.isnan(found[0]):
                p[number] = float(found[0])
    return p, counts


def _means(values: Array) -> Array:
    """The mean of each row over the examples that have a value, NaN where none has."""
    has = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(has, values, 0.0).sum(1) / has.sum(1))


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
