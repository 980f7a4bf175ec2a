"""Silencing many sets of neurons side by side, beside one scoring of the examples for each set.

`python -m tests.benchmarks.ablate [--model DIR] [--data FILE] [--limit N] [--json FILE]`
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from skilljobs.lm.batch import plan_batches
from skilljobs.lm.cached_texts import whole_texts
from skilljobs.lm.neuron_sets import PlacedSet, score_sets
from skilljobs.plan.ablation_spec import Rule
from skilljobs.plan.ablation_work import AblationWork
from skilljobs.spec import TINY
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.ablations import NeuronSet
from skilljobs.worker.ablator import Ablator
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import machine, take_turns

SIZES = (1, 10, 100)


def make_sets(subject: Subject, draws: int) -> list[NeuronSet]:
    """No neurons; and for each size a set and as many random ones as there are draws."""
    neurons, rng = subject.collector.lm.neurons, np.random.default_rng(0)
    names = [NeuronName(layer.layer, None, number) for layer in neurons for number in range(layer.dense)]
    sets = [NeuronSet(None, "all", "none", 0, None, ())]
    for size in SIZES:
        for draw in range(-1, draws):
            chosen = tuple(names[place] for place in rng.choice(len(names), size, replace=False))
            sets.append(NeuronSet("m", "all", "random", size, draw, chosen))
    return sets


def make_ablator(subject: Subject, sets: list[NeuronSet]) -> Ablator:
    """What a scorer would use for these sets."""
    work = subject.collector.work
    ablation = AblationWork(
        "", ".", "", "", "", "", Rule(0.0, 0.0), False, False, work.answer_end, work.batch_tokens, frozenset()
    )
    ablator = Ablator(subject.collector.lm, ablation, ThreadPoolExecutor(1))
    ablator.__dict__ |= {"_prompt": subject.collector.prompt, "_sets": sets}  # a scorer reads them from the run
    return ablator


def one_by_one(subject: Subject, ablator: Ablator, sets: list[NeuronSet]) -> np.ndarray:
    """Score the examples for one set after another, text and all; the right answer's log-probabilities, sets x
    examples."""
    lm, prompt, tokenized = subject.collector.lm, subject.collector.prompt, subject.tokenized
    found = np.zeros((len(sets), len(tokenized)))
    change = ablator._change(None)
    for number, chosen in enumerate(sets):
        placed = PlacedSet.of(lm, chosen.neurons)
        for batch in plan_batches(tokenized, len(prompt), ablator.work.batch_tokens):
            rows = [tokenized[index] for index in batch]
            scored = score_sets(lm, prompt, rows, [placed], change, whole_texts(lm, rows))
            for index, sums in zip(batch, scored.log_probabilities, strict=True):
                found[number, index] = sums[tokenized[index].answer]
    return found


@click.command()
@click.option("--model", default=TINY, show_default=True, metavar="DIR")
@click.option("--data", metavar="FILE", help="Real BIG-bench arithmetic; without it the task makes its own.")
@click.option("--limit", default=64, show_default=True, metavar="N", help="Examples.")
@click.option("--draws", default=20, show_default=True, metavar="R")
@click.option("--rounds", default=3, show_default=True, metavar="N")
@click.option(
    "--one-by-one", "compared", default=8, show_default=True, metavar="N", help="Sets that are scored singly."
)
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(
    model: str, data: str | None, limit: int, draws: int, rounds: int, compared: int, json_file: str | None
) -> None:
    """Measure the seconds for all sets side by side, and for some of them one by one."""
    click.echo(machine())
    subject = Subject.make(replace(model_spec(model, data, limit), tokens="mean"))
    sets = make_sets(subject, draws)
    ablator, few = make_ablator(subject, sets), sets[:: max(1, len(sets) // compared)][:compared]
    tokenized, prompt = subject.tokenized, len(subject.collector.prompt)
    text = sum(len(example.text) for example in tokenized)
    behind = sum(prompt + len(example.tree.tokens) for example in tokenized)
    lm = subject.collector.lm
    head = lm.head.weight.numel()
    body = sum(p.numel() for name, p in lm.model.named_parameters() if p.ndim == 2) - lm.embedding.weight.numel()  # type: ignore[operator]
    body -= 0 if lm.head.weight is lm.embedding.weight else head
    states = head / body * sum(1 + len(example.tree.tokens) for example in tokenized)
    by_products = len(sets) * (text + behind + states) / (text + len(sets) * (behind + states))
    possible = len(sets) * (text + behind) / (text + len(sets) * behind)
    scores, _ = ablator._ablate(subject.examples, tokenized, None)
    expected = one_by_one(subject, ablator, few)
    side_by_side = np.array([[score.target_logprob for score in of_set] for of_set in scores])
    difference = np.abs(side_by_side[[sets.index(chosen) for chosen in few]] - expected).max()
    candidates = {
        "side by side": lambda: ablator._ablate(subject.examples, tokenized, None),
        "one by one": lambda: one_by_one(subject, ablator, few),
    }
    seconds = take_turns(candidates, rounds)
    each = {
        "side by side": float(np.median(seconds["side by side"])) / len(sets),
        "one by one": float(np.median(seconds["one by one"])) / len(few),
    }
    speed_up = each["one by one"] / each["side by side"]
    click.echo(f"{len(sets)} sets on {len(tokenized)} examples: {text} tokens of text, {behind} of prompt and answers")
    for name, found in each.items():
        click.echo(f"  {name:<14} {1000 * found:9.1f} ms a set")
    click.echo(f"  speed-up {speed_up:.2f}, of {possible:.2f} by tokens: {speed_up / possible:.2f}")
    click.echo(f"  of {by_products:.2f} with the LM head, which every set needs: {speed_up / by_products:.2f}")
    click.echo(f"  largest difference of a log-probability: {difference:.1e}")
    if json_file:
        figures = {
            "ms_a_set": {name: 1000 * found for name, found in each.items()},
            "speed_up": speed_up, "by_tokens": possible, "of_possible": speed_up / possible,
            "with_head": by_products, "of_possible_with_head": speed_up / by_products,
            "difference": float(difference),
        }  # fmt: skip
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
