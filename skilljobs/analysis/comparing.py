"""Do two runs, or two metrics, find the same neurons?"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import hypergeom

from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY


@dataclass(frozen=True)
class Comparison:
    """How far two rankings of the same neurons agree.

    `r_correlation` is Pearson's correlation over the neurons whose r is defined in both, or None if it is undefined.
    `overlap` counts the neurons in both top `k`. `p` is the hypergeometric probability of an overlap at least as large
    if the two rankings were independent.
    """

    neurons: int
    k: int
    overlap: int
    expected_overlap: float
    p: float
    r_correlation: float | None
    shared: pl.DataFrame
    """The neurons in both top k, strongest first, with columns layer, token, expert, neuron, r_first, r_second."""

    def figures(self) -> dict[str, Any]:
        """Return every field except the table of shared neurons."""
        return {name: value for name, value in vars(self).items() if name != "shared"}


def compare(
    first: RunReader, second: RunReader, first_metric: str, second_metric: str, population: str, k: int
) -> Comparison:
    """Compare r with `first_metric` in `first` to r with `second_metric` in `second`, neuron by neuron.

    Raises:
        InputError: a metric or population does not exist, a run has no correlations yet, or the runs differ in their
            neurons or tokens.
    """
    for run, metric in ((first, first_metric), (second, second_metric)):
        check_reduced(run)
        check_pair(run, metric, population)
    read = [run.record.job_spec.units for run in (first, second)]
    if read[0] != read[1]:
        raise InputError(f"{first.uri} and {second.uri} cannot be compared: they read {read[0]} and {read[1]}")
    left, right = _r(first, first_metric, population), _r(second, second_metric, population)
    if not left.select(NEURON_KEY).equals(right.select(NEURON_KEY)):
        raise InputError(
            f"{first.uri} and {second.uri} cannot be compared: their neurons or tokens differ"
            f" ({first.record.model.name}, {second.record.model.name})"
        )
    both = left.with_columns(r_first=left["r"], r_second=right["r"]).drop("r")
    tops = [_top(both, column, k) for column in ("r_first", "r_second")]
    shared = tops[0].join(tops[1].select(NEURON_KEY), on=NEURON_KEY, how="semi", nulls_equal=True)
    sizes = [len(top) for top in tops]
    defined = both.drop_nulls(["r_first", "r_second"])
    varying = len(defined) > 1 and all(defined[column].std() for column in ("r_first", "r_second"))
    pearson = np.corrcoef(defined["r_first"], defined["r_second"])[0, 1] if varying else None
    return Comparison(
        neurons=len(both),
        k=k,
        overlap=len(shared),
        expected_overlap=sizes[0] * sizes[1] / len(both),
        p=float(hypergeom.sf(len(shared) - 1, len(both), sizes[0], sizes[1])),
        r_correlation=None if pearson is None else float(pearson),
        shared=shared,
    )


def agreement(run: RunReader, metric: str, population: str, k: int) -> pl.DataFrame:
    """Return how far each pair of a run's soft prompts agrees, in one row per pair.

    Columns: prompt_first, prompt_second, and the fields of `Comparison` except `shared`.

    Raises:
        InputError: the run has only one soft prompt, no correlations yet, or no such metric or population.
    """
    if run.record.job_spec.prompts == 1:
        raise InputError(f"the run at {run.uri} has only one soft prompt: name two runs or two metrics to compare")
    check_reduced(run)
    prompts = run.prompts()
    rows = []
    for first, second in combinations(range(len(prompts)), 2):
        comparison = compare(prompts[first], prompts[second], metric, metric, population, k)
        rows.append({"prompt_first": first, "prompt_second": second, **comparison.figures()})
    return pl.DataFrame(rows, infer_schema_length=None)


def _r(run: RunReader, metric: str, population: str) -> pl.DataFrame:
    rows = run.correlations().filter(pl.col("metric") == metric, pl.col("population") == population)
    return rows.select(*NEURON_KEY, "r").sort(NEURON_KEY).collect()


def _top(both: pl.DataFrame, column: str, k: int) -> pl.DataFrame:
    return both.drop_nulls(column).sort(pl.col(column).abs(), descending=True, maintain_order=True).head(k)
