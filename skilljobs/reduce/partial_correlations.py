"""Partial correlations of a run, from its sums and moments: no model, no second pass."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.stats.aggregate import mean_over_prompts
from skilljobs.stats.correlate import Centred, correlation_columns, false_discovery_rate
from skilljobs.stats.layout import Layout
from skilljobs.stats.partial import partial
from skilljobs.stats.totals import LayerTotals, Moments
from skilljobs.reduce.correlation_table import correlation_table
from skilljobs.store.reader import RunReader
from skilljobs.store.references import read_layer_reference
from skilljobs.reduce.shard_sums import Halves, read_moments, read_totals


def partial_correlations(run: RunReader, metric: str, population: str, given: Sequence[str]) -> pl.DataFrame:
    """Every neuron's correlation with `metric` while the metrics `given` are held fixed; columns of `correlations`.

    A category in `given` (`operation`) stands for all its levels. Degrees of freedom fall by the number of
    independent metrics held fixed.

    Raises:
        InputError: a metric does not exist, or does not have values for the same examples as `metric`.
    """
    return several_partial_correlations(run, {metric: given}, population)[metric]


def several_partial_correlations(
    run: RunReader, given: Mapping[str, Sequence[str]], population: str
) -> dict[str, pl.DataFrame]:
    """The partial correlations of several metrics, each with its own ones held fixed; the sums are read once."""
    layout = run.layout()
    held = {metric: expand(layout, metric, names) for metric, names in given.items()}
    prompts = run.prompts()
    halves: Halves = run.record.halves
    moments = read_moments(prompts[0].folder, sorted(halves[0] + halves[1]))
    assert moments is not None
    for metric, names in held.items():
        _check_presence(moments, layout, metric, names, population)
    tokens = len(read_layer_reference(prompts[0].folder, 0)) if run.record.job_spec.tokens == "each" else None
    tables: dict[str, list[pa.Table]] = {metric: [] for metric in held}
    for layer in range(len(run.record.neurons_per_layer)):
        of_prompts = [_layer(prompt, layer, halves, layout, population, held) for prompt in prompts]
        for metric, of_metric in tables.items():
            columns, centred = of_prompts[0][metric]
            if len(prompts) > 1:
                freedom = min(found[metric][1].degrees_of_freedom for found in of_prompts)
                columns = mean_over_prompts([found[metric][0] for found in of_prompts], freedom)
            of_metric.append(correlation_table(columns, layer, tokens, metric, population, centred.n))
    return {metric: _with_q(of_metric) for metric, of_metric in tables.items()}


def _with_q(tables: Sequence[pa.Table]) -> pl.DataFrame:
    frame = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in tables])
    p = np.array(frame["p"].to_numpy(), np.float64)
    return frame.with_columns(pl.Series("q", false_discovery_rate(p)).fill_nan(None))


def _layer(
    run: RunReader, layer: int, halves: Halves, layout: Layout, population: str, held: Mapping[str, Sequence[str]]
) -> dict[str, tuple[dict[str, NDArray[np.float64]], Centred]]:
    """Of each metric the correlations of a layer but q, and the sums that they come from."""
    whole, parts = read_totals(run.folder, halves, layer, layout)
    found = {}
    for metric, names in held.items():
        centred = _partial(whole, metric, population, names)
        of_halves = [_partial(half, metric, population, names) if half else None for half in parts]
        found[metric] = correlation_columns(centred, of_halves), centred
    return found


def expand(layout: Layout, metric: str, given: Sequence[str]) -> list[str]:
    """The metrics that `given` names, categories as their levels."""
    found: list[str] = []
    for name in given:
        matching = [
            m.name for m in layout.metrics if m.kind != "null" and (m.name == name or m.name.startswith(f"{name}="))
        ]
        if not matching:
            known = ", ".join(m.name for m in layout.metrics if m.kind != "null")
            raise InputError(f"the run has no metric {name!r} to hold fixed; it has {known}")
        found += [m for m in matching if m not in found]
    if metric in found:
        raise InputError(f"{metric!r} cannot be held fixed while its own correlation is asked for")
    if any(m.name == metric and m.kind == "null" for m in layout.metrics):
        raise InputError("null metrics have no sums with other metrics, so no partial correlation")
    return found


def _partial(totals: LayerTotals, metric: str, population: str, held: Sequence[str]) -> Centred:
    centred = totals.centred(metric, population)
    given = totals.given(metric, held, population)
    return centred if given is None else partial(centred, given)


def _check_presence(moments: Moments, layout: Layout, metric: str, held: Sequence[str], population: str) -> None:
    for member in layout.members_of(population):
        n = moments.pair(member, metric, metric)[0]
        for name in held:
            both, own = moments.pair(member, metric, name)[0], moments.pair(member, name, name)[0]
            if not n == both == own:
                raise InputError(
                    f"{name!r} cannot be held fixed: in {member} it has values for {own} examples, {metric!r} for {n},"
                    f" both for {both}; partial correlations need metrics with values for the same examples"
                )
