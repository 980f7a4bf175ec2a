"""Test examples that are in no sum, because an activation or their score is NaN or infinite."""

from collections.abc import Iterable, Sequence

from skilljobs.errors import JobFailed
from skilljobs.lm.results import NOT_FINITE_ADVICE
from skilljobs.plan.job_plan import JobPlan
from skilljobs.store.record import SetAsideExample
from skilljobs.store.shards import Receipt


def set_aside_examples(receipts: Iterable[Receipt]) -> tuple[SetAsideExample, ...]:
    """The examples that shards have set aside, as the record lists them."""
    return tuple(
        SetAsideExample(example_id=example_id, shard=receipt.shard, layer=layer)
        for receipt in receipts
        for example_id, layer in receipt.set_aside.items()
    )


def named(set_aside: Sequence[SetAsideExample]) -> str:
    """How many examples are set aside, and the first of them."""
    first = set_aside[0]
    what = "its score" if first.layer is None else f"its activations in layer {first.layer}"
    more = f", and {len(set_aside) - 1} more" if len(set_aside) > 1 else ""
    return f"{len(set_aside)} set aside as not finite ({first.example_id}: {what}, shard {first.shard}{more})"


def refuse_too_many(plan: JobPlan, receipts: Iterable[Receipt]) -> None:
    """Stop a job that would leave out more examples than `--max-bad-rows` allows.

    Raises:
        JobFailed: names the first of them.
    """
    set_aside, most = set_aside_examples(receipts), plan.spec.max_bad_rows
    if len(set_aside) > most * len(plan.test):
        raise JobFailed(
            f"of {len(plan.test)} examples, {named(set_aside)}; at most a fraction of {most:.3g} may be"
            " (--max-bad-rows)",
            NOT_FINITE_ADVICE,
        )
