"""Effects that are estimated to first order, beside those of silencing each neuron by itself.

`python -m tests.benchmarks.effects [--model DIR] [--data FILE] [--limit N] [--neurons N] [--json FILE]`
"""

import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.first_order import first_order_effects
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.position_sums import PositionSums, add_positions
from skilljobs.lm.scores import answer_scores
from skilljobs.spec import TINY
from skilljobs.stats.neurons import NeuronName
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import machine

STRONGEST = 50
LARGEST = 10
SIDE_BY_SIDE = 16
Array = NDArray[np.float64]


def means_over(subject: Subject, examples: list[TokenizedExample], budget: int) -> list[torch.Tensor]:
    """The mean of every neuron at each kind of position."""
    lm, prompt = subject.collector.lm, subject.collector.prompt
    sums = PositionSums.empty(lm, len(prompt))
    for batch in plan_batches(examples, len(prompt), budget):
        add_positions(lm, prompt, [examples[index] for index in batch], sums)
    return [layer / sums.counts.clamp(min=1)[:, None] for layer in sums.layers]


def estimate(subject: Subject, examples: list[TokenizedExample], means: list[torch.Tensor], budget: int) -> list[Array]:
    """The mean first-order effect on the margin, an array for each layer."""
    lm, prompt = subject.collector.lm, subject.collector.prompt
    total = [np.zeros(layer.count) for layer in lm.neurons]
    for batch in plan_batches(examples, len(prompt), budget):
        found = first_order_effects(lm, prompt, [examples[index] for index in batch], means, "margin")
        assert bool(found.finite.all())
        for layer, part in zip(total, found.layers, strict=True):
            layer += part.sum(0).numpy()
    return [layer / len(examples) for layer in total]


def ablate_each(
    subject: Subject,
    examples: list[TokenizedExample],
    means: list[torch.Tensor],
    names: list[NeuronName],
    budget: int,
) -> Array:
    """The mean change of the margin with each neuron at its mean, one by one."""
    lm, prompt = subject.collector.lm, subject.collector.prompt
    change = Change(0.0, lambda layer, places: means[layer][:, places].T[None])
    sets = [PlacedSet.of(lm, [name]) for name in names]
    total = np.zeros(len(sets) + 1)
    for batch in plan_batches(examples, len(prompt), budget):
        rows = [examples[index] for index in batch]
        texts = texts_before(lm, prompt, rows, False)
        for start in range(0, len(sets), SIDE_BY_SIDE):
            part = [*sets[start : start + SIDE_BY_SIDE], PlacedSet({})]
            scored = score_sets(lm, prompt, rows, part, change, texts)
            margins = np.array([score.margin for score in answer_scores(scored, rows * len(part))], np.float64)
            sums = margins.reshape(len(part), len(rows)).sum(1)
            total[start : start + len(part) - 1] += sums[:-1] - sums[-1]
    return total[:-1] / len(examples)


@click.command()
@click.option("--model", default=TINY, show_default=True, metavar="DIR")
@click.option("--data", metavar="FILE", help="Real BIG-bench arithmetic; without it the task makes its own.")
@click.option("--limit", default=64, show_default=True, metavar="N", help="Examples, of which half give the means.")
@click.option("--neurons", default=200, show_default=True, metavar="N", help="Those of largest estimate, then random.")
@click.option("--batch-tokens", default=1024, show_default=True, metavar="N")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(model: str, data: str | None, limit: int, neurons: int, batch_tokens: int, json_file: str | None) -> None:
    """Compare estimates with exact single-neuron ablations on the second half of the examples."""
    click.echo(machine())
    subject = Subject.make(model_spec(model, data, limit))
    lm, examples = subject.collector.lm, subject.tokenized
    first, second = examples[::2], examples[1::2]
    means = means_over(subject, first, batch_tokens)
    begun = time.monotonic()
    estimates = estimate(subject, second, means, batch_tokens)
    estimated_in = time.monotonic() - begun
    names = [NeuronName(layer.layer, None, place) for layer in lm.neurons for place in range(layer.dense)]
    every = np.concatenate(estimates)
    strongest = min(STRONGEST, neurons // 2)
    order = np.argsort(-np.abs(every), kind="stable")
    chosen = np.concatenate(
        [order[:strongest], np.random.default_rng(0).choice(order[strongest:], neurons - strongest, replace=False)]
    )
    begun = time.monotonic()
    exact = ablate_each(subject, second, means, [names[place] for place in chosen], batch_tokens)
    exact_in = time.monotonic() - begun
    mine, layers = every[chosen], np.array([names[place].layer for place in chosen])
    tops = [set(np.argsort(-np.abs(values), kind="stable")[:LARGEST].tolist()) for values in (mine, exact)]
    figures = {
        "neurons": len(chosen),
        "examples": len(second),
        "rank_correlation": float(spearmanr(mine, exact).statistic),
        "of_strongest": float(spearmanr(mine[:strongest], exact[:strongest]).statistic),
        "of_random": float(spearmanr(mine[strongest:], exact[strongest:]).statistic),
        "same_of_ten": len(tops[0] & tops[1]),
        "estimate_seconds_all_neurons": estimated_in,
        "exact_seconds_these_neurons": exact_in,
    }
    for name, value in figures.items():
        click.echo(f"  {name:<30} {value:.3f}")
    by_layer = {}
    for layer in np.unique(layers):
        of_layer = layers == layer
        error = np.linalg.norm(mine[of_layer] - exact[of_layer]) / np.linalg.norm(exact[of_layer])
        size = float(mine[of_layer] @ exact[of_layer] / (exact[of_layer] @ exact[of_layer]))
        by_layer[int(layer)] = {"relative_error": float(error), "size": size}
        click.echo(f"  layer {layer}: {of_layer.sum()} neurons, relative error {error:.2f}, size {size:.2f} of exact")
    if json_file:
        Path(json_file).write_text(json.dumps(figures | {"by_layer": by_layer}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
