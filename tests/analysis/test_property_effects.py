"""How properties are read: what they point to, what they mark, and what silencing does, on made-up answers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from skilljobs.analysis.half_examples import HalfExamples
from skilljobs.analysis.property_effects import PropertyReading, read_property
from skilljobs.analysis.shortcut_verdicts import (
    Compared,
    Judged,
    Silenced,
    beyond_controls,
    leads,
    leads_beside,
    lowers,
    verdict,
)
from skilljobs.properties.property import Property, number, pointing, values_of, yes_no
from skilljobs.stats import stratified
from skilljobs.stats.stratified import Contrast, Estimate
from skilljobs.tasks.base import Example

SEED = 3


def half_of(examples: list[Example], says: Callable[[Example], int], matched: list[int] | None = None) -> HalfExamples:
    """A half in which the model gives the choice that `says` returns."""
    count = len(examples)
    correct = np.array([says(example) == example.answer for example in examples], float)
    return HalfExamples(
        shards=(0,),
        examples=examples,
        places=np.arange(count),
        units=np.arange(count),
        centred_on=np.zeros(count, np.int64),
        matched=np.array(matched or [0] * count, np.int64),
        metric=None,
        correct=correct,
        confidence=correct,
    )


def fixed(count: int, seed: int, names: tuple[str, ...] = (" yes", " no")) -> list[Example]:
    """Examples with the same choices in a random order, a flag, and a size."""
    rng = np.random.default_rng(seed)
    examples = []
    for place in range(count):
        order = [names[index] for index in rng.permutation(len(names))]
        metrics = {"flag": bool(rng.random() < 0.4), "size": float(rng.normal())}
        answer = int(rng.integers(len(names)))
        examples.append(Example(f"{seed}-{place}", f"{place}", "test", "t", tuple(order), answer, metrics=metrics))
    return examples


def flag(example: Example) -> bool:
    return bool(example.metrics["flag"])


FLAG = yes_no("flag", flag)


def read(of: Property, first: HalfExamples, second: HalfExamples) -> PropertyReading:
    return read_property(of, first, second, *(values_of([of], half.examples)[:, 0] for half in (first, second)))


def chosen_by(half: HalfExamples, says: Callable[[Example], int]) -> np.ndarray:
    return np.array([says(example) for example in half.examples])


@pytest.mark.parametrize("names", [(" yes", " no"), (" yes", " no", " maybe")])
def test_with_fixed_choices_a_property_points_to_what_the_model_says_with_it(names: tuple[str, ...]) -> None:
    def says(example: Example) -> int:
        assert example.choices is not None
        return example.choices.index(" no" if flag(example) else " yes")

    first, second = (half_of(fixed(300, seed, names), says) for seed in (0, 1))
    reading = read(FLAG, first, second)
    assert reading.points_to == "no"
    chosen = chosen_by(second, says)
    assert reading.rate(chosen, SEED).value == 1
    assert reading.points_right.sum() + reading.points_wrong.sum() == sum(flag(e) for e in second.examples)
    # silenced, the model always says yes
    silenced = np.array([e.choices.index(" yes") for e in second.examples if e.choices])
    fall = reading.fall(chosen, silenced, SEED)
    assert fall.value == 1
    assert fall.low > 0.8
    assert reading.falls(chosen, np.stack([silenced, chosen], 1)).tolist() == [1, 0]


def test_a_model_that_knows_the_answer_is_not_led_by_what_goes_with_it() -> None:
    """The flag goes with the answer, and the model gives the answer."""

    def says(example: Example) -> int:
        assert example.answer is not None
        return example.answer

    halves = []
    for seed in (0, 1):
        examples = [
            example
            for example in fixed(600, seed)
            if flag(example) == (example.answer_text == " no") or example.example_id.endswith("7")
        ]
        halves.append(half_of(examples, says))
    reading = read(FLAG, *halves)
    rate = reading.rate(chosen_by(halves[1], says), SEED)
    assert rate.value == 0
    assert leads(rate, reading.points_to).answer == "no"


def test_a_pointer_leads_a_model_that_takes_what_it_points_to() -> None:
    rng = np.random.default_rng(0)
    halves: list[list[Example]] = [[], []]
    for place in range(400):
        choices = tuple(f" {value}" for value in rng.choice(1000, 4, replace=False))
        halves[place % 2].append(Example(f"{place}", f"{place}", "test", "t", choices, int(rng.integers(4))))
    first_choice = pointing("first", lambda _: 0)
    first, second = (half_of(examples, lambda _: 0) for examples in halves)
    reading = read(first_choice, first, second)
    assert reading.points_to == "its choice"
    led = reading.rate(np.zeros(200, np.int64), SEED)
    assert led.value == 1
    knows = np.array([example.answer for example in second.examples])
    assert leads(reading.rate(knows, SEED), reading.points_to).answer == "no"
    assert (reading.points_right == (knows == 0)).all()
    assert (reading.points_wrong == (knows != 0)).all()


def varied(count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            f"{seed}-{place}", f"{place}", "test", "t", (f" {place}", f" {place + 1}"), int(rng.integers(2)),
            metrics={"flag": bool(rng.random() < 0.5), "size": float(rng.normal())},
        )
        for place in range(count)
    ]  # fmt: skip


def test_a_mark_is_where_the_model_is_right_more_often_and_a_number_has_the_side_that_is() -> None:
    def says(example: Example) -> int:
        knows = example.metrics["size"] < 0  # type: ignore[operator]
        return int(example.answer or 0) if knows else 1 - int(example.answer or 0)

    first, second = (half_of(varied(300, seed), says) for seed in (0, 1))
    size = number("size", lambda example: example.metrics["size"])  # type: ignore[arg-type, return-value]
    reading = read(size, first, second)
    assert reading.points_to is None
    assert reading.side is not None
    assert reading.side.startswith("at most ")
    assert reading.rate(chosen_by(second, says), SEED).value > 0.9
    assert leads(read(FLAG, first, second).rate(chosen_by(second, says), SEED), None).answer != "yes"


def test_a_difference_between_groups_is_none_within_them() -> None:
    """The flag is nearly always there in the easy group: no paradox of Simpson's."""
    rng = np.random.default_rng(0)
    halves = []
    for seed in (0, 1):
        examples, groups = varied(400, seed), [int(value) for value in rng.integers(2, size=400)]
        with_flag = [
            replace(example, metrics={"flag": bool(rng.random() < 0.1 + 0.8 * group), "easy": group})
            for example, group in zip(examples, groups, strict=True)
        ]
        halves.append((with_flag, groups))

    def says(example: Example) -> int:
        right = int(example.answer or 0)
        return right if example.metrics["easy"] or int(example.unit) % 4 == 0 else 1 - right

    plain = [half_of(examples, says) for examples, _ in halves]
    grouped = [half_of(examples, says, groups) for examples, groups in halves]
    assert read(FLAG, *plain).rate(chosen_by(plain[1], says), SEED).low > 0.2
    assert leads(read(FLAG, *grouped).rate(chosen_by(grouped[1], says), SEED), None).answer != "yes"


YES, NO, UNCLEAR = Judged("yes", "a"), Judged("no", "b"), Judged("unclear", "c")


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0.1)


def test_one_clear_no_is_enough_and_all_must_be_yes() -> None:
    assert verdict([YES, YES, YES])[0] == "shortcut"
    assert verdict([UNCLEAR, YES, YES]) == ("undecided", "c")
    assert verdict([UNCLEAR, NO]) == ("correlate", "b")


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.01, 0.2, "yes"),
        (-0.02, 0.04, "no"),
        (-0.01, 0.06, "unclear"),
        (-0.3, -0.1, "no"),
        (np.nan, np.nan, "unclear"),
    ],
)
def test_an_interval_that_holds_zero_and_five_points_does_not_decide(low: float, high: float, answer: str) -> None:
    assert leads(estimate(low, high), "yes").answer == answer
    assert lowers(Silenced(estimate(low, high), -0.1, 0.1, 0.2, estimate(0.9, 1.1), 2.0), 2).answer == answer


def test_a_model_that_is_broken_everywhere_shows_no_shortcut() -> None:
    fall = estimate(0.1, 0.3)
    assert lowers(Silenced(fall, -0.2, -0.2, -0.1, estimate(0.9, 1.1), 2.0), 1).answer == "no"
    assert lowers(Silenced(fall, 0.0, 0.1, 0.2, estimate(0.9, 1.1), 2.0), 1).answer == "no"
    assert lowers(Silenced(fall, -0.2, 0.1, 0.2, estimate(-0.6, -0.4), 2.0), 1).answer == "no"
    assert lowers(Silenced(fall, -0.2, np.nan, np.nan, estimate(0.9, 1.1), 2.0), 1).answer == "yes"


def test_answers_that_none_of_a_few_examples_changes_leave_it_to_the_margins() -> None:
    """Of 20 examples with a property, none answers otherwise: of a hundred, ten still may."""
    has = np.arange(40) < 20
    contrast = Contrast(np.arange(40), np.zeros(40, np.int64), has)
    fall = stratified.estimate(contrast, np.zeros((40, 1)), SEED, ends=(-1, 1))
    assert fall.low < 0
    assert fall.high > 0.05
    known = [(estimate(-0.01, 0.01), "no"), (estimate(-3.0, -1.0), "no"), (estimate(-0.1, 1.0), "unclear")]
    for margin_fall, answer in known:
        assert lowers(Silenced(fall, 0.0, np.nan, np.nan, margin_fall, 2.0), 1).answer == answer
    assert lowers(Silenced(fall, 0.0, np.nan, np.nan, estimate(-0.01, 0.01), -2.0), 1).answer == "unclear"


def test_random_neurons_decide_and_too_few_do_not() -> None:
    silenced = Silenced(estimate(0.1, 0.3), -0.2, 0.1, 0.2, estimate(0.9, 1.1), 2.0)
    assert beyond_controls(silenced, Compared(0.01, 0.02, 0.0, 0.0, 0.001, 199)).answer == "yes"
    assert beyond_controls(silenced, Compared(0.01, 0.2, 0.0, 0.0, 0.001, 199)).answer == "no"
    assert beyond_controls(silenced, Compared(0.01, 0.01, 0.0, 0.0, 0.2, 199)).answer == "no", (
        "one of many that were tried"
    )
    assert beyond_controls(silenced, Compared(0.01, 0.01, 0.5, 0.0, 0.001, 199)).answer == "no", "the other way"
    assert beyond_controls(silenced, Compared(0.01, 0.01, 0.0, 0.0, 0.001, 5)).answer == "unclear"


@pytest.mark.parametrize(("count", "accuracy"), [(12, 0.95), (30, 0.95), (30, 0.8), (60, 0.95)])
def test_few_examples_do_not_make_a_lead_of_nothing(count: int, accuracy: float) -> None:
    """The percentile bootstrap alone says so in up to a third of cases."""
    rng = np.random.default_rng(0)
    led = 0
    for _ in range(100):
        has = np.arange(400) < count
        contrast = Contrast(np.arange(400), np.zeros(400, np.int64), has)
        right = (rng.random(400) < accuracy).astype(float)[:, None]
        led += leads(stratified.estimate(contrast, right, SEED, ends=(0, 1)), None).answer == "yes"
    assert led <= 8


def test_what_is_always_right_can_still_differ_by_more_than_nothing() -> None:
    contrast = Contrast(np.arange(60), np.zeros(60, np.int64), np.arange(60) < 20)
    found = stratified.estimate(contrast, np.ones((60, 1)), SEED, ends=(0, 1))
    assert found.detectable > 0.05
    assert leads(found, None).answer == "unclear"


def test_a_proxy_is_told_from_what_leads_whichever_is_followed_more() -> None:
    def says(example: Example) -> int:
        assert example.choices is not None
        return example.choices.index(" no" if flag(example) else " yes")

    rng = np.random.default_rng(0)
    halves = []
    for seed in (0, 1):
        with_proxy = [
            replace(e, metrics={**e.metrics, "proxy": flag(e) if rng.random() < 0.9 else not flag(e)})
            for e in fixed(400, seed)
        ]
        halves.append(half_of(with_proxy, says))
    proxy = yes_no("proxy", lambda example: bool(example.metrics["proxy"]))
    cause, copy = read(FLAG, *halves), read(proxy, *halves)
    chosen = chosen_by(halves[1], says)
    forth = copy.rate(chosen, SEED, cause.has.astype(np.int64))
    back = cause.rate(chosen, SEED, copy.has.astype(np.int64))
    for stronger in (True, False):
        assert leads_beside(forth, back, "flag", stronger).answer == "no"
        assert leads_beside(back, forth, "proxy", stronger).answer == "yes"
    wide, none = estimate(-0.1, 0.1), estimate(np.nan, np.nan)
    for unclear in (wide, none):
        assert leads_beside(unclear, unclear, "other", True).answer == "yes", "the two cannot be told apart"
        assert leads_beside(unclear, unclear, "other", False).answer == "unclear"
    assert leads_beside(estimate(-0.01, 0.4), estimate(0.1, 0.2), "other", True).answer == "unclear"


def test_two_levels_mark_whichever_of_them_is_easier() -> None:
    def says(example: Example) -> int:
        right = int(example.answer or 0)
        return right if not flag(example) else 1 - right

    first, second = (half_of(varied(300, seed), says) for seed in (0, 1))
    reading = read(FLAG, first, second)
    assert reading.side == "without it"
    assert reading.rate(chosen_by(second, says), SEED).value == 1
