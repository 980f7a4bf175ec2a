"""The correlations of all neurons, in as few numbers as a page needs, however many neurons there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY

FINEST = 1000
"""The finest bins of r are one part in this wide."""
WIDTHS = (1, 2, 5, 10, 20, 50)
"""Widths of bins, in finest bins."""
MOST_BINS = 80
HIGH = 0.99
"""The quantile of |r| that stands between the median and the largest."""
_PAIR = ["metric", "population"]


@dataclass(frozen=True)
class Bin:
    """How many neurons have an r from `low` to `high`."""

    low: float
    high: float
    neurons: int


@dataclass(frozen=True)
class LayerStrength:
    """|r| of the neurons of one layer: the median, the quantile `HIGH`, and the largest with its neuron."""

    layer: int
    median: float
    high: float
    largest: float
    neuron: dict[str, Any]


@dataclass(frozen=True)
class Binned:
    """The correlations with one metric over one population. Neurons whose r is undefined are in none of the bins."""

    n: int
    """Examples."""
    neurons: int
    """Neurons (with `--tokens each`, neurons at a position) whose r is defined."""
    bins: list[Bin]
    layers: list[LayerStrength]


def binned(run: RunReader, metrics: Sequence[str], populations: Sequence[str]) -> dict[tuple[str, str], Binned]:
    """Return the correlations with each of `metrics` over each of `populations`, reading one layer at a time."""
    wanted = pl.col("metric").is_in(metrics) & pl.col("population").is_in(populations)
    strength = pl.col("r").abs()
    strongest = strength.arg_max()
    counts, layers = [], []
    for layer in run.record.neurons:
        rows = run.correlations(layer.layer).filter(wanted).select(*_PAIR, *NEURON_KEY, "n", "r").collect()
        place = (pl.col("r") * FINEST).floor().clip(-FINEST, FINEST - 1).cast(pl.Int16).alias("place")
        counts.append(rows.drop_nulls("r").group_by(*_PAIR, place).agg(pl.len().alias("neurons")))
        layers.append(
            rows.group_by(_PAIR).agg(
                pl.col("n").first(),
                strength.median().alias("median"),
                strength.quantile(HIGH).alias("high"),
                strength.max().alias("largest"),
                *(pl.col(name).get(strongest).alias(name) for name in NEURON_KEY),
            )
        )
    found = pl.concat(counts).group_by(*_PAIR, "place").agg(pl.col("neurons").sum()).sort("place")
    bins = {pair: rows.select("place", "neurons") for pair, rows in found.partition_by(_PAIR, as_dict=True).items()}
    strengths = pl.concat(layers).partition_by(_PAIR, as_dict=True, maintain_order=True)
    return {
        (str(pair[0]), str(pair[1])): Binned(
            int(rows["n"].max()),  # type: ignore[arg-type]
            int(bins[pair]["neurons"].sum()) if pair in bins else 0,
            _coarse(bins[pair]) if pair in bins else [],
            [
                LayerStrength(
                    row["layer"], row["median"], row["high"], row["largest"], {name: row[name] for name in NEURON_KEY}
                )
                for row in rows.drop_nulls("largest").iter_rows(named=True)
            ],
        )
        for pair, rows in strengths.items()
    }


def _coarse(places: pl.DataFrame) -> list[Bin]:
    """Put the finest bins together until there are no more than `MOST_BINS`."""
    low, high = int(places["place"][0]), int(places["place"][-1])
    width = next((width for width in WIDTHS if (high - low) // width < MOST_BINS), WIDTHS[-1])
    table = places.group_by(pl.col("place").floordiv(width).alias("bin")).agg(pl.col("neurons").sum()).sort("bin")
    return [Bin(bin_ * width / FINEST, (bin_ + 1) * width / FINEST, neurons) for bin_, neurons in table.iter_rows()]
