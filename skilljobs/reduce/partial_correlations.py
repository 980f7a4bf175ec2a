"""Partial correlations of a run, from its stored sums and moments, without the model or a second pass."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.reduce.correlation_table import correlation_table
from skilljobs.reduce.shard_sums import Halves, read_moments, read_totals
from skilljobs.stats.aggregate import mean_over_prompts
from skilljobs.stats.centred import Centred
from skilljobs.stats.correlate import correlation_columns, false_discovery_rate
from skilljobs.stats.layout import Layout
from skilljobs.stats.partial import partial
from skilljobs.stats.totals import LayerTotals, Moments
from skilljobs.store.reader import RunReader
from skilljobs.store.references import read_layer_reference


def partial_correlations(run: RunReader, metric: str, population: str, given: Sequence[str]) -> pl.DataFrame:
    """Return every neuron's partial correlation with `metric`, with the metrics `given` held fixed.

    The columns are those of `correlations`. A category in `given`, such as `operation`, stands for all its levels. The
    degrees of freedom are reduced by the number of independent metrics held fixed.

    Raises:
        InputError: a metric in `given` does not exist, is `metric` itself, or does not have values for the same
            examples as `metric`; or `metric` is a null metric.
    """
    return several_partial_correlations(run, {metric: given}, population)[metric]


def several_partial_correlations(
    run: RunReader, given: Mapping[str, Sequence[str]], population: str
) -> dict[str, pl.DataFrame]:
    """Return the partial correlations with several metrics, each with its own metrics held fixed.

    `given` maps each metric to those that are held fixed for it. The sums are read once for all metrics. See
    `partial_correlations`.

    Raises:
        InputError: as in `partial_correlations`.
    """
    run.require_sums()
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
    for layer, neurons in enumerate(run.record.neurons):
        prompt_results = [_layer(prompt, layer, halves, layout, population, held) for prompt in prompts]
        for metric, layer_tables in tables.items():
            columns, centred = prompt_results[0][metric]
            if len(prompts) > 1:
                freedom = min(result[metric][1].degrees_of_freedom for result in prompt_results)
                columns = mean_over_prompts([result[metric][0] for result in prompt_results], freedom)
            layer_tables.append(correlation_table(columns, neurons, tokens, metric, population, centred.n))
    return {metric: _with_q(layer_tables) for metric, layer_tables in tables.items()}


def _with_q(tables: Sequence[pa.Table]) -> pl.DataFrame:
    frame = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in tables])
    p = np.array(frame["p"].to_numpy(), np.float64)
    return frame.with_columns(pl.Series("q", false_discovery_rate(p)).fill_nan(None))


def _layer(
    run: RunReader, layer: int, halves: Halves, layout: Layout, population: str, held: Mapping[str, Sequence[str]]
) -> dict[str, tuple[dict[str, NDArray[np.float64]], Centred]]:
    """Return a layer's correlations with each metric, without q, and the centred sums they are computed from."""
    whole, parts = read_totals(run.folder, halves, layer, layout)
    results = {}
    for metric, names in held.items():
        centred = _partial(whole, metric, population, names)
        centred_halves = [_partial(half, metric, population, names) if half else None for half in parts]
        results[metric] = correlation_columns(centred, centred_halves), centred
    return results


def expand(layout: Layout, metric: str, given: Sequence[str]) -> list[str]:
    """Return the metrics that `given` names, with each category replaced by its levels.

    Raises:
        InputError: a metric in `given` does not exist or is `metric` itself, or `metric` is a null metric.
    """
    expanded: list[str] = []
    for name in given:
        matching = [m.name for m in layout.metrics if m.kind != "null" and name in (m.name, m.column)]
        if not matching:
            known = ", ".join(m.name for m in layout.metrics if m.kind != "null")
            raise InputError(f"the run has no metric {name!r} to hold fixed; it has {known}")
        expanded += [m for m in matching if m not in expanded]
    if metric in expanded:
        raise InputError(f"{metric!r} cannot be held fixed while its own correlation is asked for")
    if any(m.name == metric and m.kind == "null" for m in layout.metrics):
        raise InputError("null metrics have no sums with other metrics, so they have no partial correlations")
    return expanded


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
