"""Effects that are estimated to first order, beside those of silencing each neuron by itself, on a finished run.

`python -m tests.benchmarks.effects RUN [--examples N] [--neurons N] [--scales 1,0.1,0.01] [--anew] [--json FILE]`
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from skilljobs.lm.batch import TokenizedExample, plan_batches, tokenize
from skilljobs.lm.first_order import first_order_effects
from skilljobs.lm.forward import score_batch
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.position_sums import PositionSums, add_positions
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.plan.finished_run import answer_end_of, same_model
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.examples import examples_of
from skilljobs.store.reader import RunReader
from skilljobs.store.run import PROMPT_NAME
from tests.benchmarks.timing import machine

STRONGEST = 50
LARGEST = 10
SIDE_BY_SIDE = 16
Array = NDArray[np.float64]


class Validation:
    """A finished run's model and prompt, examples of half 0 for the means and of half 1 to measure on."""

    def __init__(self, run: str, examples: int, budget: int, double: bool) -> None:
        reader = RunReader(run)
        record = reader.record
        source = same_model(record, False)
        model = load_model(source, "float32", "cpu")
        self.lm = FrozenLM(model.double() if double else model, load_tokenizer(source))
        self.prompt = read_prompt_bytes(reader.folder.read(PROMPT_NAME)).vectors.to(self.lm.dtype)
        self.budget = budget
        kept = examples_of(reader.examples().collect().to_arrow())
        self.halves: list[list[TokenizedExample]] = []
        for half in (0, 1):
            of_half = [example for example in kept if example.half == half][:examples]
            self.halves.append(tokenize(self.lm.tokenizer, of_half, answer_end_of(record), record.job_spec.chat))
        self.means = self._means()

    def _means(self) -> list[torch.Tensor]:
        sums = PositionSums.empty(self.lm, len(self.prompt))
        for batch in plan_batches(self.halves[0], len(self.prompt), self.budget):
            add_positions(self.lm, self.prompt, [self.halves[0][index] for index in batch], sums)
        return [layer / sums.counts.clamp(min=1)[:, None] for layer in sums.layers]

    def estimates(self) -> Array:
        """The mean first-order effect on the margin over half 1, of all neurons, layer by layer."""
        total = [np.zeros(layer.count) for layer in self.lm.neurons]
        for batch in plan_batches(self.halves[1], len(self.prompt), self.budget // 2):
            rows = [self.halves[1][index] for index in batch]
            found = first_order_effects(self.lm, self.prompt, rows, self.means, "margin")
            assert bool(found.finite.all())
            for layer, part in zip(total, found.layers, strict=True):
                layer += part.sum(0).numpy()
        return np.concatenate(total) / len(self.halves[1])

    def exact(self, names: list[NeuronName], scale: float, anew: bool) -> Array:
        """The mean change of the margin as each neuron alone moves by `scale` of the way to its mean, over `scale`.

        `anew`: with the best wrong choice of the changed model; otherwise with that of the model as it is.
        """
        change = Change(1 - scale, lambda layer, places: scale * self.means[layer][:, places].T[None])
        sets = [PlacedSet.of(self.lm, [name]) for name in names]
        total = np.zeros(len(sets))
        for batch in plan_batches(self.halves[1], len(self.prompt), self.budget):
            rows = [self.halves[1][index] for index in batch]
            rows = rows if anew else self._two_choices(rows)
            texts = texts_before(self.lm, self.prompt, rows, False)
            for start in range(0, len(sets), SIDE_BY_SIDE):
                part = [*sets[start : start + SIDE_BY_SIDE], PlacedSet({})]
                scored = score_sets(self.lm, self.prompt, rows, part, change, texts)
                margins = [_margin(s, e) for s, e in zip(scored.log_probabilities, rows * len(part), strict=True)]
                sums = np.array(margins).reshape(len(part), len(rows)).sum(1)
                total[start : start + len(part) - 1] += sums[:-1] - sums[-1]
        return total / len(self.halves[1]) / scale

    def _two_choices(self, rows: list[TokenizedExample]) -> list[TokenizedExample]:
        """The right choice and the best wrong one."""
        found = []
        for scores, example in zip(score_batch(self.lm, self.prompt, rows, None).log_probabilities, rows, strict=True):
            wrong = scores.clone()
            wrong[example.answer] = -torch.inf
            pair = [example.continuations[example.answer], example.continuations[int(wrong.argmax())]]
            found.append(replace(example, continuations=pair, answer=0))
        return found


def _margin(scores: torch.Tensor, example: TokenizedExample) -> float:
    wrong = scores.clone()
    wrong[example.answer] = -torch.inf
    return float(scores[example.answer] - wrong.max())


def compare(estimates: Array, exact: Array, layers: NDArray[np.int64], strongest: int) -> dict[str, object]:
    """How well estimates do, over all and by layer. `size` is the least-squares slope of estimates on exact effects."""
    tops = [set(np.argsort(-np.abs(values), kind="stable")[:LARGEST].tolist()) for values in (estimates, exact)]
    by_layer = {}
    for layer in np.unique(layers):
        mine, true = estimates[layers == layer], exact[layers == layer]
        if not (true.any() and mine.any()):
            continue
        by_layer[int(layer)] = {
            "neurons": len(mine),
            "error": float(np.linalg.norm(mine - true) / np.linalg.norm(true)),
            "size": float(mine @ true / (true @ true)),
            "rank_correlation": float(spearmanr(mine, true).statistic) if len(mine) > 2 else None,
        }
    return {
        "rank_correlation": float(spearmanr(estimates, exact).statistic),
        "of_strongest": float(spearmanr(estimates[:strongest], exact[:strongest]).statistic),
        "of_random": float(spearmanr(estimates[strongest:], exact[strongest:]).statistic),
        "same_of_ten": len(tops[0] & tops[1]),
        "error": float(np.linalg.norm(estimates - exact) / np.linalg.norm(exact)),
        "same_sign": float(np.mean(np.sign(estimates) == np.sign(exact))),
        "by_layer": by_layer,
    }


@click.command()
@click.argument("run")
@click.option("--examples", default=64, show_default=True, metavar="N", help="Of each half.")
@click.option("--neurons", default=200, show_default=True, metavar="N", help="Those of largest estimate, then random.")
@click.option("--scales", default="1", show_default=True, metavar="S[,S...]", help="Parts of the way to the mean.")
@click.option("--anew", is_flag=True, help="Also with the best wrong choice of the changed model.")
@click.option("--double", is_flag=True, help="In float64.")
@click.option("--batch-tokens", default=1024, show_default=True, metavar="N")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(
    run: str, examples: int, neurons: int, scales: str, anew: bool, double: bool, batch_tokens: int,
    json_file: str | None,
) -> None:  # fmt: skip
    """Compare estimates with exact single-neuron ablations on half 1 of a finished run."""
    click.echo(machine())
    subject = Validation(run, examples, batch_tokens, double)
    begun = time.monotonic()
    every = subject.estimates()
    click.echo(
        f"estimates of {len(every):,} neurons, {len(subject.halves[1])} examples: {time.monotonic() - begun:.2f} s"
    )
    names = [NeuronName(layer.layer, None, place) for layer in subject.lm.neurons for place in range(layer.dense)]
    strongest = min(STRONGEST, neurons // 2)
    order = np.argsort(-np.abs(every), kind="stable")
    others = np.random.default_rng(0).choice(order[strongest:], neurons - strongest, replace=False)
    chosen = np.concatenate([order[:strongest], others])
    layers = np.array([names[place].layer for place in chosen])
    found = {}
    for scale in map(float, scales.split(",")):
        for wrong in ("fixed", "anew") if anew else ("fixed",):
            begun = time.monotonic()
            exact = subject.exact([names[place] for place in chosen], scale, wrong == "anew")
            figures = compare(every[chosen], exact, layers, strongest)
            found[f"{scale:g} {wrong}"] = figures | {"seconds": time.monotonic() - begun}
            click.echo(f"scale {scale:g}, best wrong choice {wrong}, {time.monotonic() - begun:.1f} s")
            for name, value in figures.items():
                if isinstance(value, dict):
                    for layer, of_layer in value.items():
                        click.echo(f"    layer {layer}: {of_layer}")
                else:
                    click.echo(f"  {name:<20} {value:.4f}")
            if json_file:
                Path(json_file).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
