"""What the statistics cost, and what torchmetrics costs for the same numbers; how exact both are.

`python -m tests.benchmarks.statistics [--quick] [--json FILE]`
"""

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import PearsonCorrCoef

from skilljobs.spec import TINY
from skilljobs.stats.centred import Centred
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.worker.accumulator import SumsAccumulator, activation_reference, metric_reference
from tests.benchmarks.overhead import overhead
from tests.benchmarks.timing import machine, take_turns
from tests.exact import exact_r
from tests.models import save_random_llama

Array = NDArray[np.float64]
OFFSETS = (0.0, 1.0, 1e3, 1e5, 1e8)
SPREADS = (1e-30, 1e-3, 1.0, 1e3, 1e30)
BATCH = 50


def layout_of(metrics: int) -> Layout:
    return Layout(tuple(Metric(f"y{k}", "external", False) for k in range(metrics)), (ALL,), {})


def ours(activations: torch.Tensor, metrics: torch.Tensor) -> Array:
    """r, metrics x neurons, in batches, from rows x neurons and rows x metrics."""
    layout = layout_of(metrics.shape[1])
    reference = activation_reference(activations[:BATCH, None].double())
    metric_references = torch.tensor([metric_reference(column) for column in metrics[:BATCH].double().T])
    accumulator = SumsAccumulator(layout, [reference], metric_references)
    for start in range(0, len(activations), BATCH):
        rows = activations[start : start + BATCH, None].double()
        members = torch.ones(len(rows), 1, dtype=torch.bool)
        accumulator.add([rows], metrics[start : start + BATCH].double(), members)
    sums = accumulator.result()
    total, square = sums.linear[0][0], sums.square[0][0, 0]
    return np.stack(
        [
            Centred.of(
                len(activations), total[0], square, total[1 + k],
                float(sums.moment_sum[0, k, k]), float(sums.moment_square[0, k, k]), reference.numpy().ravel(),
            ).r()
            for k in range(metrics.shape[1])
        ]
    )  # fmt: skip


def torchmetrics_r(activations: torch.Tensor, metrics: torch.Tensor) -> Array:
    """The same through one PearsonCorrCoef with an output for each metric and neuron."""
    (rows, neurons), count = activations.shape, metrics.shape[1]
    pearson = PearsonCorrCoef(num_outputs=neurons * count)
    for start in range(0, rows, BATCH):
        left = activations[start : start + BATCH].repeat(1, count)
        right = metrics[start : start + BATCH].to(left.dtype).repeat_interleave(neurons, 1)
        pearson.update(left, right)
    return pearson.compute().double().numpy().reshape(count, neurons)


def worst_error(r: Callable[[torch.Tensor, torch.Tensor], Array], a: torch.Tensor, y: torch.Tensor) -> str:
    """The largest |error| over the columns of `a`; how often r was given where there is none, or not where there is."""
    found = r(a, y)[0]
    expected = np.array([exact_r(column.numpy(), y[:, 0].numpy()) for column in a.T], np.float64)
    undefined = np.isnan(expected)
    invented, lost = int((~np.isnan(found[undefined])).sum()), int(np.isnan(found[~undefined]).sum())
    errors = np.abs(found - expected)[~undefined & ~np.isnan(found)]
    parts = [f"{errors.max():.0e}" if len(errors) else "null"]
    parts += [f"{invented} of {undefined.sum()} constants given an r"] if invented else []
    parts += [f"{lost} of {(~undefined).sum()} null"] if lost else []
    return ", ".join(parts)


def accuracy_table(rows: int, neurons: int) -> list[dict[str, object]]:
    """Worst errors by offset and spread, on the same float32 activations."""
    table = []
    for offset in OFFSETS:
        for spread in SPREADS:
            rng = np.random.default_rng(0)
            y = torch.from_numpy(rng.normal(5.0, 1.0, (rows, 1)))
            a = torch.from_numpy(offset + spread * (rng.normal(size=(rows, neurons)) + 0.3 * y.numpy())).float()
            table.append(
                {
                    "offset": offset,
                    "spread": spread,
                    "skilljobs": worst_error(ours, a, y),
                    "torchmetrics, float32": worst_error(torchmetrics_r, a, y),
                    "torchmetrics, float64": worst_error(lambda a, y: torchmetrics_r(a.double(), y), a, y),
                }
            )
    return table


@click.command()
@click.option("--quick", is_flag=True, help="A small model and few rows, to see that it works.")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(quick: bool, json_file: str | None) -> None:
    """Measure what the statistics cost and how exact they are, beside torchmetrics."""
    warnings.filterwarnings("ignore", module="torchmetrics")
    width, neurons, layers = (64, 128, 2) if quick else (1024, 4096, 8)
    click.echo(machine())
    with tempfile.TemporaryDirectory() as folder:
        wide = save_random_llama(Path(folder), width=width, neurons=neurons, layers=layers, heads=8)
        figures: dict[str, object] = {
            "statistics_overhead_wide": overhead(str(wide), 8 if quick else 24, 1 if quick else 5),
            "statistics_overhead_tiny": overhead(TINY, 16 if quick else 200, 1 if quick else 15),
        }
    rows, columns = (100, 64) if quick else (400, layers * neurons)
    activations, metrics = torch.randn(rows, columns), torch.randn(rows, 8)
    rounds_taken = take_turns(
        {
            "skilljobs": lambda: ours(activations, metrics),
            "torchmetrics": lambda: torchmetrics_r(activations, metrics),
        },
        1 if quick else 3,
    )
    seconds = {name: min(values) for name, values in rounds_taken.items()}
    figures["torchmetrics_over_skilljobs"] = seconds["torchmetrics"] / seconds["skilljobs"]
    figures["seconds"] = seconds
    table = accuracy_table(100, 4) if quick else accuracy_table(400, 16)
    figures["worst_errors"] = table
    click.echo(
        f"{layers} layers of width {width}: statistics add {figures['statistics_overhead_wide']:.1%} to the forward"
    )
    click.echo(f"tiny model: statistics add {figures['statistics_overhead_tiny']:.1%}")
    click.echo(
        f"8 metrics, {columns} neurons, {rows} rows: skilljobs {seconds['skilljobs']:.3f} s,"
        f" torchmetrics {seconds['torchmetrics']:.3f} s, {figures['torchmetrics_over_skilljobs']:.0f} times"
    )
    click.echo("\nworst error of r, float32 activations:\n")
    names = list(table[0])
    click.echo("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in table:
        click.echo("| " + " | ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
