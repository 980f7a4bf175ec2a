"""Which answers a model gives where the choices are the same in all examples, as far as the scores tell."""

from collections import Counter
from dataclasses import dataclass
from shlex import quote

import numpy as np
import polars as pl

from skilljobs.analysis.distributions import answer_names, metric_values
from skilljobs.analysis.scored_shards import scored_shards
from skilljobs.stats.metric_traps import FEWEST
from skilljobs.store.reader import RunReader
from skilljobs.tasks.base import ANSWER, choice_names
from skilljobs.tasks.external_columns import level_metric_name

NEARLY_ALWAYS = 0.95
"""A model that gives one answer for this share of the test examples has a confidence that is little but the label."""


@dataclass(frozen=True)
class Majority:
    """The most frequent right answer, and its share of the test examples."""

    name: str
    share: float


@dataclass(frozen=True)
class AnswerCounts:
    """How often each answer is right, where the choices are the same in all examples."""

    names: list[str]
    """The choices, in the order of the first example."""
    examples: Counter[str]
    """Test examples by the name of their right answer."""
    scored: list[Counter[tuple[str, bool]]]
    """With each soft prompt, examples by that name, and by whether the model was right."""


def answer_counts(run: RunReader) -> AnswerCounts | None:
    """Count the right answers of a run; None if the choices differ between examples."""
    return run.cached("answer counts", lambda: _count_answers(run))


def _count_answers(run: RunReader) -> AnswerCounts | None:
    found = AnswerCounts([], Counter(), [Counter() for _ in run.prompts()])
    kinds: set[tuple[str, ...]] = set()
    for examples, scored_frames in scored_shards(run, ["choices", ANSWER], ["correct"]):
        different = examples.select(pl.col("choices").list.sort()).unique()["choices"].to_list()
        kinds |= {() if choices is None else tuple(choices) for choices in different}
        if len(kinds) != 1 or () in kinds:
            return None
        if not found.names:
            found.names.extend(choice_names(examples["choices"][0].to_list()))
        found.examples.update(map(str, answer_names(examples)))
        for counts, scored in zip(found.scored, scored_frames, strict=True):
            answered = scored.drop_nulls("correct")
            counts.update(zip(map(str, answer_names(answered)), answered["correct"].to_list(), strict=True))
    return found if found.examples else None


def majority(run: RunReader) -> Majority | None:
    """Return the most frequent right answer; None if the choices differ between examples."""
    counts = answer_counts(run)
    if counts is None:
        return None
    name = min(counts.examples, key=lambda name: (-counts.examples[name], name))
    return Majority(name, counts.examples[name] / counts.examples.total())


def one_answer(run: RunReader) -> list[str]:
    """Return a sentence for each soft prompt with which the model gives nearly all test examples one answer.

    Of two choices, the scores tell which one the model gave. Of more, they tell only whether it was right: that it
    gives one answer is concluded if it is right for nearly all examples with that answer and for hardly any other.
    """
    counts = answer_counts(run)
    if counts is None:
        return []
    sentences = []
    for number, scored in enumerate(counts.scored):
        found = _of_two(scored, counts.names) if len(counts.names) == 2 else _of_more(scored)
        if found is not None:
            name, said = found
            subject = f"with prompt {number}, the model" if len(counts.scored) > 1 else "the model"
            sentences.append(
                f"{subject} {said}: confidence and the metrics like it are then little but the right answer itself;"
                f" {_advice(run, name)}"
            )
    return sentences


def _of_two(scored: Counter[tuple[str, bool]], names: list[str]) -> tuple[str, str] | None:
    """The answer that the model gives nearly always, and what is said of that. `scored`: as in `AnswerCounts`."""
    n = scored.total()
    for name in names if n else ():
        given = sum(count for (right, is_correct), count in scored.items() if is_correct == (right == name))
        if given / n >= NEARLY_ALWAYS:
            truly = _with_answer(scored, name) / n
            return name, f"answers {name} for {given / n:.1%} of the test examples ({truly:.1%} have that answer)"
    return None


def _of_more(scored: Counter[tuple[str, bool]]) -> tuple[str, str] | None:
    correct = sum(count for (_, is_correct), count in scored.items() if is_correct)
    for name in sorted({right for right, _ in scored}):
        these = _with_answer(scored, name)
        others = scored.total() - these
        if min(these, others) < FEWEST:
            continue
        right, elsewhere = scored[name, True] / these, (correct - scored[name, True]) / others
        if right >= NEARLY_ALWAYS and elsewhere <= 1 - NEARLY_ALWAYS:
            return name, (
                f"is right for {right:.1%} of the test examples whose answer is {name} and for {elsewhere:.1%} of the"
                " others, so that it seems to give nearly always that answer"
            )
    return None


def _with_answer(scored: Counter[tuple[str, bool]], name: str) -> int:
    return scored[name, True] + scored[name, False]


def _advice(run: RunReader, name: str) -> str:
    """What to do about it, with the metric to hold fixed if the run has one that tells the right answer."""
    metric = _telling(run, name)
    if metric is None:
        return "a prompt that tells the answers apart is needed, or a run with `--metric answer` to hold that fixed"
    return f"hold it fixed with `top --given {quote(metric)}`, or find a prompt that tells the answers apart"


def _telling(run: RunReader, name: str) -> str | None:
    layout = run.layout()
    if any(metric.name == level_metric_name(ANSWER, name) for metric in layout.metrics):
        return level_metric_name(ANSWER, name)
    telling = {metric.name for metric in layout.metrics if metric.kind == "external"}
    opposite = set(telling)
    for examples, _ in scored_shards(run):
        wanted = np.array([answer == name for answer in answer_names(examples)], np.float64)
        for metric in telling | opposite:
            values = metric_values(examples, layout, metric)
            if not np.array_equal(values, wanted):
                telling.discard(metric)
            if not np.array_equal(values, 1 - wanted):
                opposite.discard(metric)
        if not telling | opposite:
            break
    return next((metric.name for metric in layout.metrics if metric.name in telling | opposite), None)
