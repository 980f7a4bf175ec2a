"""What a run's numbers say, in sentences: whether the prompt learned, what is above the null, what may mislead.

A sentence is drawn only from stored numbers, and says what was counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import polars as pl

from skilljobs.analysis.metric_warnings import PAIRS_SHOWN, traps
from skilljobs.analysis.model_answers import majority, one_answer
from skilljobs.analysis.null_thresholds import NoThreshold, NullThreshold, NullThresholds
from skilljobs.analysis.ranking import check_reduced
from skilljobs.analysis.run_tables import accuracy_by_group
from skilljobs.plan.work import VALIDATION_EXAMPLES
from skilljobs.selection import noun_of
from skilljobs.stats.layout import ALL, NULL, WITHIN
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TUNING_NAME

GROUPS_SHOWN = 6
"""A column with more groups than this is summed up by its lowest and its highest."""
_SURE = 2.0
"""Standard errors by which accuracies must differ for a difference to be told as one."""


def conclusions(run: RunReader, metrics: Sequence[str], most_pairs: int = PAIRS_SHOWN) -> list[str]:
    """Return what the run says about each of `metrics`, and what may mislead (see `traps` for `most_pairs`).

    Raises:
        InputError: the run has no correlations yet.
    """
    check_reduced(run)
    thresholds = NullThresholds(run)
    within = [name for name in run.layout().reported_populations if name.startswith(WITHIN)]
    above = [above_null(run, metric, population, thresholds) for metric in metrics for population in (ALL, *within)]
    return [*learned(run), *one_answer(run), *above, *traps(run, thresholds.moments, most_pairs=most_pairs)]


def of_ranking(
    run: RunReader,
    rows: pl.DataFrame,
    metric: str,
    population: str,
    given: Sequence[str],
    thresholds: NullThresholds,
    threshold: NullThreshold | NoThreshold,
) -> list[str]:
    """Return what the run says about a ranking, of which `rows` are the strongest, and what may mislead in it.

    `threshold` is that of the ranking. With metrics held fixed, only the neurons shown are counted.
    """
    may_mislead = traps(run, thresholds.moments, metric, population)
    if any(known.name == metric and known.kind == "model" for known in run.layout().metrics):
        may_mislead = one_answer(run) + may_mislead
    if not given:
        return [above_null(run, metric, population, thresholds), *may_mislead]
    if isinstance(threshold, NoThreshold):
        return may_mislead
    above = rows.filter(pl.col("r").abs() > threshold.r).height
    noun = noun_of(run.record.job_spec.units)
    where = f"{metric}, {population}, given {', '.join(given)}"
    if above == 0:
        return [f"{where}: no {noun} is above the null threshold (|r| > {threshold.r:.3f})", *may_mislead]
    shown = f"{above:,} of the {len(rows):,} {noun}s shown are above the null threshold (|r| > {threshold.r:.3f})"
    return [f"{where}: {shown}", *may_mislead]


def learned(run: RunReader) -> list[str]:
    """Return whether each soft prompt learned, and how the accuracy on test differs by group."""
    prompts, sentences = run.prompts(), []
    for number, prompt in enumerate(prompts):
        subject = f"prompt {number}" if len(prompts) > 1 else "the prompt"
        sentence = _tuned(prompt, subject)
        if prompt.record.accuracy.test is not None:
            test = f"accuracy on test is {prompt.record.accuracy.test:.3f}"
            sentence = f"{sentence}; {test}" if sentence else test
        if sentence:
            sentences.append(sentence)
    if sentences and (most := majority(run)) is not None:
        sentences[-1] += f", and always answering {most.name} would have {most.share:.3f}"
    return sentences + _by_group(run)


def _tuned(run: RunReader, subject: str) -> str | None:
    if run.record.job_spec.soft_prompt is not None:
        return f"{subject} was not tuned in this run"
    before, after = run.record.accuracy.before, run.record.accuracy.after
    n = min(run.record.examples.validation, VALIDATION_EXAMPLES)
    if before is None or after is None:
        return _loss(run, subject)
    error = sqrt((before * (1 - before) + after * (1 - after)) / max(1, n))
    values = f"accuracy on {n:,} validation examples went from {before:.3f} to {after:.3f}"
    if after - before > _SURE * error:
        return f"{subject} learned: {values}"
    if before - after > _SURE * error:
        return f"{subject} made the model worse: {values}"
    return f"{subject} did not clearly learn: {values}, no more than chance may do"


def _loss(run: RunReader, subject: str) -> str | None:
    """How far the loss on validation fell, for open-ended tasks; None if the prompt was not tuned."""
    if not run.folder.exists(TUNING_NAME):
        return None
    losses = run.tuning().filter(pl.col("split") == "validation").sort("step").collect()["loss"].drop_nulls().to_list()
    if not losses:
        return None
    return f"{subject}: the loss on validation went from {losses[0]:.3f} to {min(losses):.3f} at its lowest"


def _by_group(run: RunReader) -> list[str]:
    rows = accuracy_by_group(run).drop_nulls("accuracy")
    sentences = []
    for column in run.record.groups:
        groups = rows.filter(pl.col("population").is_in(run.record.groups[column])).sort("accuracy")
        shown = [
            f"{row['population'].removeprefix(f'{column}=')} {row['accuracy']:.3f} (n = {row['examples']:,})"
            for row in groups.iter_rows(named=True)
        ]
        if len(shown) > GROUPS_SHOWN:
            sentences.append(f"accuracy by {column}, of {len(shown)}: lowest {shown[0]}, highest {shown[-1]}")
        elif len(shown) > 1:
            sentences.append(f"accuracy by {column}: {', '.join(shown)}")
    return sentences


@dataclass(frozen=True)
class AboveNull:
    """How many neurons are above the null threshold.

    `on_half0` are those whose |r| over half 0 alone is above the threshold of that half, and `hold` those of them whose
    r over half 1 has the same sign and is above the threshold of half 1: what was found on one half is measured on
    examples that had no part in finding it. Both are None if a half has no examples.
    """

    neurons: int
    above: int
    on_half0: int | None
    hold: int | None


def count_above(run: RunReader, metric: str, population: str, threshold: NullThreshold) -> AboveNull:
    """Count the neurons above `threshold`. A neuron counts once, however many prompt positions it is above it at."""
    key = ["layer", "expert", "neuron"]
    rows = (
        run.correlations()
        .filter(pl.col("metric") == metric, pl.col("population") == population)
        .select(*key, "r", "r_half0", "r_half1")
        .collect()
    )

    def count(condition: pl.Expr) -> int:
        return rows.filter(condition).select(key).n_unique()

    neurons, above = count(pl.col("r").is_not_null()), count(pl.col("r").abs() > threshold.r)
    if threshold.half0 is None or threshold.half1 is None:
        return AboveNull(neurons, above, None, None)
    found = pl.col("r_half0").abs() > threshold.half0
    holds = (pl.col("r_half1") * pl.col("r_half0").sign()) > threshold.half1
    return AboveNull(neurons, above, count(found), count(found & holds))


def above_null(run: RunReader, metric: str, population: str, thresholds: NullThresholds) -> str:
    """Return how many neurons are above the null threshold and hold on the other half, or why that is not known."""
    threshold = thresholds.of(metric, population)
    where, noun = f"{metric}, {population}", noun_of(run.record.job_spec.units)
    if isinstance(threshold, NoThreshold):
        return f"{where}: no null threshold: {threshold.reason}"
    counts = count_above(run, metric, population, threshold)
    if not counts.neurons:
        return f"{where}: r is undefined for every {noun}: the metric, or every {noun}, is constant there"
    about = " approximately" if threshold.is_approximate else ""
    sentence = (
        f"{where}: {counts.above:,} of {counts.neurons:,} {noun}s are above the null threshold"
        f" (|r| >{about} {threshold.r:.3f})"
    )
    if counts.above == 0:
        sentence += f": no {noun} correlates more strongly than chance alone does somewhere in the model"
    if counts.on_half0 is None or metric.startswith(NULL) or counts.above == counts.on_half0 == 0:
        return sentence
    found, verb = f"(|r| > {threshold.half0:.3f})", "is" if counts.on_half0 == 1 else "are"
    if counts.on_half0 == 0:
        return f"{sentence}; on half 0 alone none is {found}, so that none can be checked on half 1"
    return (
        f"{sentence}; on half 0 alone {counts.on_half0:,} {verb} {found}, and {counts.hold:,} of these"
        f" {'holds' if counts.hold == 1 else 'hold'} on half 1 (same sign, |r| > {threshold.half1:.3f})"
    )
