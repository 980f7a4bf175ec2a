"""What a wrong name may have meant."""

from skilljobs.suggestions import LISTED, did_you_mean, shortened


def test_close_names_are_suggested_and_others_are_not() -> None:
    known = ["confidence", "correct", "operation=addition", "operation=division"]
    assert did_you_mean("confidance", known) == " (did you mean 'confidence'?)"
    assert did_you_mean("addition", known) == " (did you mean 'operation=addition'?)"
    assert did_you_mean("banana", known) == ""
    assert did_you_mean("", known) == ""


def test_long_lists_are_shortened() -> None:
    names = [f"m{number}" for number in range(1000 + LISTED)]
    assert shortened(names[:LISTED]).endswith(f"m{LISTED - 1}")
    assert shortened(names).endswith(f"m{LISTED - 1} and 1,000 more")
    assert shortened(names[: LISTED + 1]).endswith(f", m{LISTED}"), "one more name is as short as `and 1 more`"
