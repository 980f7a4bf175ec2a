"""Which answers a model gives where the choices are the same in all examples, as far as the scores tell."""

from collections import Counter
from dataclasses import dataclass
from shlex import quote

import numpy as np
import polars as pl

from skilljobs.analysis.distributions import answer_names, metric_values
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


def right_answers(run: RunReader) -> pl.DataFrame | None:
    """Return `example_id` and the name of the right answer, `right`; None if the choices differ between examples."""
    return run.cached("right answers", lambda: _read_right_answers(run))


def _read_right_answers(run: RunReader) -> pl.DataFrame | None:
    fixed = run.examples().select("example_id", "choices", ANSWER)
    kinds = fixed.select(pl.col("choices").list.sort()).unique().head(2).collect()
    if len(kinds) != 1 or kinds["choices"][0] is None:
        return None
    examples = fixed.collect()
    return examples.select("example_id").with_columns(right=pl.Series(answer_names(examples), dtype=pl.String))


def majority(run: RunReader) -> Majority | None:
    """Return the most frequent right answer; None if the choices differ between examples."""
    right = right_answers(run)
    if right is None or right.is_empty():
        return None
    ((name, count),) = Counter(right["right"].sort().to_list()).most_common(1)
    return Majority(name, count / len(right))


def one_answer(run: RunReader) -> list[str]:
    """Return a sentence for each soft prompt with which the model gives nearly all test examples one answer.

    Of two choices, the scores tell which one the model gave. Of more, they tell only whether it was right: that it
    gives one answer is concluded if it is right for nearly all examples with that answer and for hardly any other.
    """
    right = right_answers(run)
    prompts, sentences = run.prompts(), []
    for number, prompt in enumerate(prompts):
        if right is None:
            break
        scores = prompt.scores().select("example_id", "correct").drop_nulls().collect()
        scored = right.join(scores, on="example_id", how="inner")
        names = choice_names(run.examples().select("choices").head(1).collect()["choices"][0].to_list())
        found = _of_two(scored, names) if len(names) == 2 else _of_more(scored)
        if found is not None:
            name, said = found
            subject = f"with prompt {number}, the model" if len(prompts) > 1 else "the model"
            sentences.append(
                f"{subject} {said}: confidence and the metrics like it are then little but the right answer itself;"
                f" {_advice(run, name)}"
            )
    return sentences


def _of_two(scored: pl.DataFrame, names: list[str]) -> tuple[str, str] | None:
    for name in names:
        share = (scored["correct"] == (scored["right"] == name)).mean()
        if isinstance(share, float) and share >= NEARLY_ALWAYS:
            truly = float((scored["right"] == name).sum()) / len(scored)
            return name, f"answers {name} for {share:.1%} of the test examples ({truly:.1%} have that answer)"
    return None


def _of_more(scored: pl.DataFrame) -> tuple[str, str] | None:
    for name in scored["right"].unique().sort().to_list():
        these, others = scored.filter(pl.col("right") == name), scored.filter(pl.col("right") != name)
        if min(len(these), len(others)) < FEWEST:
            continue
        right, elsewhere = float(these["correct"].sum()) / len(these), float(others["correct"].sum()) / len(others)
        if right >= NEARLY_ALWAYS and elsewhere <= 1 - NEARLY_ALWAYS:
            return name, (
                f"is right for {right:.1%} of the test examples whose answer is {name} and for {elsewhere:.1%} of the"
                " others, so that it seems to give nearly always that answer"
            )
    return None


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
    examples = run.examples().collect()
    wanted = np.array([answer == name for answer in answer_names(examples)], np.float64)
    for metric in layout.metrics:
        if metric.kind == "external":
            values = metric_values(examples, layout, metric.name)
            if np.array_equal(values, wanted) or np.array_equal(values, 1 - wanted):
                return metric.name
    return None
