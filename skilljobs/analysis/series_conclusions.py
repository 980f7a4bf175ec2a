"""What a series of models says, in sentences: from where on a neuron is there, and what may mislead."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.emergence import SeriesMember, are_matched
from skilljobs.hashing import digest_of_many
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT


def series_conclusions(members: Sequence[SeriesMember], rows: pl.DataFrame, metric: str, population: str) -> list[str]:
    """Return what `rows`, the table of `emergence` for `members`, say about a metric, and what may mislead in them."""
    measured = [member for member in members if member.is_measured]
    sentences = [_unfinished(members, measured)]
    if measured:
        known = rows.filter(pl.col("checkpoint").is_in([member.label for member in measured])).to_dicts()
        sentences += [_appearance(known, f"{metric}, {population}"), *may_mislead(measured)]
    return [sentence for sentence in sentences if sentence is not None]


def _unfinished(members: Sequence[SeriesMember], measured: Sequence[SeriesMember]) -> str | None:
    missing = [member.label for member in members if member not in measured]
    return f"not finished, and left out: {', '.join(missing)}" if missing else None


def holds(r_half0: float | None, r_half1: float | None, threshold: float | None) -> bool | None:
    """Whether what was found on half 0 is above the threshold on half 1, with the same sign; None if not known."""
    if r_half0 is None or threshold is None:
        return None
    return r_half1 is not None and r_half1 * (1 if r_half0 > 0 else -1) > threshold


def _appearance(rows: Sequence[dict[str, Any]], where: str) -> str:
    """From which model on the strongest neuron of the last one is above the null on half 1."""
    last = rows[-1]
    if last["r_half0"] is None:
        return f"{where}: r is undefined for every neuron of {last['checkpoint']}"
    name = f"{neuron_text(last)}, the strongest of {last['checkpoint']} on half 0 (r = {last['r_half0']:+.3f})"
    matched = [row for row in rows if row["last_r_half1"] is not None or row is last]
    there = [holds(last["r_half0"], row["last_r_half1"], row["null_half1"]) for row in matched]
    if there[-1] is None:
        return f"{where}: {name}: there is no null threshold, so that it is not known where it appears"
    if not there[-1]:
        return (
            f"{where}: {name}, is not above the null threshold on half 1 ({_r(last['r_half1'])} against"
            f" {last['null_half1']:.3f}): no neuron is known to appear"
        )
    absent = [place for place, held in enumerate(there) if not held]
    if not absent:
        return f"{where}: {name}, is above the null threshold on half 1 in all {len(matched)} models it can be found in"
    before, first = matched[absent[-1]], matched[absent[-1] + 1]
    return (
        f"{where}: {name}, appears at {first['checkpoint']}: from there on r on half 1 is above the null threshold"
        f" ({_r(first['last_r_half1'])} against {first['null_half1']:.3f}), and at {before['checkpoint']} it is not"
        f" ({_r(before['last_r_half1'])} against {_positive(before['null_half1'])})"
    )


def may_mislead(measured: Sequence[SeriesMember]) -> list[str]:
    """Return what may mislead in the comparison of models whose runs have correlations."""
    last = measured[-1]
    records = [member.run.record for member in measured]
    sentences = [_prompts({record.job_spec.soft_prompt for record in records})]
    unmatched = [member.label for member in measured if not are_matched(member.run, last.run)]
    if unmatched:
        sentences.append(
            f"neurons of {', '.join(unmatched)} cannot be matched with those of {last.label}, since the models differ"
            " in shape or in what is read: only the strongest of each are compared"
        )
    if len(unmatched) < len(measured) - 1:
        sentences.append(
            "neurons are matched by their place, which makes them the same neurons only in checkpoints of one training"
        )
    if not _have_same_examples(measured):
        sentences.append("the models were not all tested and tuned on the same examples, or not with the same texts")
    digests: dict[Any, list[str]] = {}
    for member, record in zip(measured, records, strict=True):
        fields = record.fingerprint.fields
        digests.setdefault((fields.get("model_digest"), fields.get("adapter_digest")), []).append(member.label)
    sentences += [f"{' and '.join(labels)} have the same files of weights" for labels in digests.values() if labels[1:]]
    return sentences


def _have_same_examples(members: Sequence[SeriesMember]) -> bool:
    """Whether all runs were tested and tuned on the same examples with the same texts.

    Where they are cut into shards of different size, as for another device, only those that were tested are compared.
    """
    records = [member.run.record for member in members]
    fields = [record.fingerprint.fields for record in records]
    if len({str(of_run.get("shard_sizes")) for of_run in fields}) == 1:
        return len({of_run.get("examples_digest") for of_run in fields}) == 1
    counts = {(record.examples.train, record.examples.validation) for record in records}
    return len(counts) == 1 and len({_digest_of_tested(member) for member in members}) == 1


def _digest_of_tested(member: SeriesMember) -> str:
    """Of the examples that were tested, in whatever order."""
    columns = ("example_id", "split", "text", "choices", "target")
    rows = member.run.examples().select(columns).collect().sort("example_id")
    return digest_of_many(rows.iter_rows(), size=16).hex()


def _prompts(given: set[str | None]) -> str:
    """What the soft prompts of the models mean for the comparison."""
    if given == {None}:
        return (
            "each model has a soft prompt of its own, tuned on it: what appears may be the prompt's doing as well as"
            " the model's; --soft-prompt reads all models of one width with the same prompt"
        )
    if given == {RANDOM_PROMPT} or given == {NO_PROMPT}:
        return "no soft prompt was tuned: what a tuned one would bring out may be there and not be seen"
    if len(given) == 1:
        return (
            f"all models are read with one soft prompt ({given.pop()}), which was tuned on one of them or on another"
            " model: where a neuron is missing, the prompt may not work with that model's weights"
        )
    return "the models do not all have soft prompts of the same kind: they differ in that as well"


def _r(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def _positive(value: float | None) -> str:
    return "no threshold" if value is None else f"{value:.3f}"
