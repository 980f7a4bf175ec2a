"""Collecting, beside what people do now and beside what the hardware could do, on the same examples.

`python -m tests.benchmarks.collect [--model DIR] [--data FILE] [--limit N] [--json FILE]`
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.lm.batch import TokenizedExample
from skilljobs.spec import TINY
from skilljobs.stats.centred import Centred
from skilljobs.stats.sums import ShardSums
from tests.benchmarks import naive, rivals
from tests.benchmarks.naive import Found, corrcoef
from tests.benchmarks.overhead import overhead
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import machine, product_seconds
from tests.models import projections

Array = NDArray[np.float64]
OURS = "skilljobs"
MEMORY_EXAMPLES = 16


def plain(subject: Subject) -> naive.Forward:
    lm = subject.collector.lm
    return naive.plain_forward(lm.model, projections(lm.model))


def forwards(subject: Subject) -> dict[str, naive.Forward]:
    """Plain transformers, and the rivals that are installed."""
    found = {"naive": plain(subject)}
    for name, make in rivals.RIVALS.items():
        try:
            found[name] = make(subject.plan.source)
        except ImportError as error:
            click.echo(f"{name}: not measured ({error})", err=True)
    return found


def correlations(subject: Subject, sums: Sequence[ShardSums], metrics: Sequence[str]) -> Array:
    """r of `metrics` with every neuron over all shards: metrics x neurons."""
    layout = subject.plan.layout
    places = [[metric.name for metric in layout.metrics].index(name) for name in metrics]
    moments = [sum(getattr(part, name) for part in sums) for name in ("moment_sum", "moment_square")]
    layers = []
    for layer, reference in enumerate(subject.neuron_references):
        linear, square = (sum(getattr(part, name)[layer] for part in sums) for name in ("linear", "square"))
        rows = [
            Centred.of(
                int(sum(part.count[0] for part in sums)), linear[0, 0], square[0, 0], linear[0, 1 + place],
                float(moments[0][0, place, place]), float(moments[1][0, place, place]), reference.ravel(),
            ).r()
            for place in places
        ]  # fmt: skip
        layers.append(np.stack(rows))
    return np.concatenate(layers, 1)


def floor_seconds(subject: Subject) -> float:
    """The bare matrix products of the tokens that must be read, each shape at its measured rate.

    Every text, the prompt, every distinct token behind it, through every linear layer of the body; the LM head behind
    the prompt and behind each of those tokens.
    """
    lm, rows = subject.collector.lm, 2048
    head = lm.model.get_output_embeddings()
    shapes = [module.weight.shape for module in lm.body.modules() if isinstance(module, torch.nn.Linear)]
    seconds = {shape: product_seconds(rows, shape) for shape in set(shapes)}
    tokens = sum(example.size + len(subject.collector.prompt) for example in subject.tokenized)
    scored = sum(1 + len(example.tree.tokens) for example in subject.tokenized)
    block = (min(4096, head.weight.shape[0]), head.weight.shape[1])
    of_head = product_seconds(rows, block) * head.weight.shape[0] / block[0]
    return tokens / rows * sum(seconds[shape] for shape in shapes) + scored / rows * of_head


def peak_memory_mb(ways: Sequence[tuple[str, int]], model: str, data: str | None) -> list[float]:
    """Peak memory of processes of their own that load the model and collect so many examples in one way each.

    They are forked from one that has imported everything and computed nothing. Of a small model two at a time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.benchmarks.rivals", "tests.benchmarks.subject"])
    arguments = [(name, model, data, limit, torch.get_num_threads()) for name, limit in ways]
    with context.Pool(2 if model == TINY else 1, maxtasksperchild=1) as pool:
        return list(pool.starmap(_peak_memory, arguments, chunksize=1))


def _peak_memory(name: str, model: str, data: str | None, limit: int, threads: int) -> float:
    torch.set_num_threads(threads)
    subject = Subject.make(model_spec(model, data, limit))
    collector = subject.collector
    if name == OURS:
        subject.collect(subject.accumulator())
    else:
        forward = rivals.RIVALS[name](subject.plan.source) if name in rivals.RIVALS else plain(subject)
        naive.collect(forward, collector.lm.embedding, collector.prompt, subject.tokenized)
    return own_peak_mb()


def own_peak_mb() -> float:
    """Peak resident memory of this program; `ru_maxrss` would count what the process was forked from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def measure(subject: Subject, shard: int) -> tuple[dict[str, float], dict[str, Array]]:
    """Seconds and r of each way, which take turns shard by shard; `r`: metrics x neurons."""
    collector = subject.collector
    others = forwards(subject)
    metrics = [metric.name for metric in subject.plan.external if not metric.nullable]
    found: dict[str, list[Found]] = {name: [] for name in others}
    sums: list[ShardSums] = []

    def ours(part: slice) -> None:
        accumulator = subject.accumulator()
        subject.collect(accumulator, part)
        sums.append(accumulator.result())

    def other(name: str) -> Callable[[slice], None]:
        def run(part: slice) -> None:
            rows: list[TokenizedExample] = subject.tokenized[part]
            found[name].append(naive.collect(others[name], collector.lm.embedding, collector.prompt, rows))

        return run

    ways = {OURS: ours} | {name: other(name) for name in others}
    for run in ways.values():
        run(slice(0, 2))
    sums.clear()
    for of_way in found.values():
        of_way.clear()
    seconds = dict.fromkeys(ways, 0.0)
    for number, start in enumerate(range(0, len(subject.examples), shard)):
        for name in ways if number % 2 else reversed(ways):
            begun = time.perf_counter()
            ways[name](slice(start, start + shard))
            seconds[name] += time.perf_counter() - begun
    r = {}
    begun = time.perf_counter()
    r[OURS] = correlations(subject, sums, [*metrics, "confidence"])
    seconds[OURS] += time.perf_counter() - begun
    values = np.array([[m.value(e) for m in subject.plan.external if not m.nullable] for e in subject.examples])
    for name, parts in found.items():
        begun = time.perf_counter()
        confidence = np.concatenate([part.confidence for part in parts])
        activations = np.concatenate([part.activations for part in parts])
        r[name] = corrcoef(activations, np.column_stack([values, confidence]))
        seconds[name] += time.perf_counter() - begun
    return seconds, r


@click.command()
@click.option("--model", default=TINY, show_default=True, metavar="DIR")
@click.option("--data", metavar="FILE", help="Real BIG-bench arithmetic; without it the task makes its own.")
@click.option("--limit", type=int, default=240, show_default=True, metavar="N", help="Examples.")
@click.option("--shard", type=int, default=240, show_default=True, metavar="N", help="Examples a shard.")
@click.option("--memory/--no-memory", default=True, help="Measure peak memory too, in processes of their own.")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(model: str, data: str | None, limit: int, shard: int, memory: bool, json_file: str | None) -> None:
    """Measure collecting: examples a second of each way, fraction of the floor, memory, and that all give one r."""
    click.echo(machine())
    subject = Subject.make(model_spec(model, data, limit))
    seconds, r = measure(subject, shard)
    floor = floor_seconds(subject)
    rates = {name: len(subject.examples) / value for name, value in seconds.items()}
    differences = [np.nanmax(np.abs(r[OURS] - of_other)) for name, of_other in r.items() if name != OURS]
    figures: dict[str, Any] = {
        "examples_per_second": rates,
        "fraction_of_floor": floor / seconds[OURS],
        "statistics_overhead": overhead(model, min(limit, 128 if model == TINY else 16), 3),
        "peak_memory_mb": {},
        "max_abs_dr": float(max(differences)),
    }
    if memory:
        few = min(limit, MEMORY_EXAMPLES)
        ways = [*((name, few) for name in rates), (OURS, 4 * few)]
        names = [*rates, f"{OURS}, {4 * few} examples"]
        figures["peak_memory_mb"] = dict(zip(names, peak_memory_mb(ways, model, data), strict=True))
    click.echo(f"{len(subject.examples)} examples, {subject.plan.source.name}, {subject.collector.lm.dtype}")
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        click.echo(f"  {name:<18} {rate:8.2f} examples/s   {rates[OURS] / rate:5.1f} x")
    click.echo(
        f"  floor (bare GEMMs) {len(subject.examples) / floor:8.2f} examples/s   reached {floor / seconds[OURS]:.2f}"
    )
    click.echo(f"  statistics add {figures['statistics_overhead']:.1%}; largest difference of r {max(differences):.1e}")
    for name, megabytes in figures["peak_memory_mb"].items():
        click.echo(f"  peak memory, {name}: {megabytes:.0f} MB")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
