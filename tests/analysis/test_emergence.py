"""When a neuron appears over a series: what the table says, on runs made by hand."""

from typing import Any

import pytest

from skilljobs.analysis.series_conclusions import _appearance, holds


def row(checkpoint: str, last_r_half1: float | None, null: float | None = 0.2, r_half1: float = 0.5) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint, "layer": 1, "token": None, "expert": None, "neuron": 7, "r_half0": -0.6,
        "r_half1": -r_half1, "null_half1": null, "last_r_half1": last_r_half1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-0.1, 0.5, -0.4, -0.5], "appears at c: .* and at b it is not"),
        ([-0.4, -0.1, -0.5], "appears at c"),
        ([-0.4, None, -0.5], "in all 2 models it can be found in"),
        ([-0.1, None, -0.5], "appears at c: .* and at a it is not"),
        ([-0.4, -0.3, -0.1], "no neuron is known to appear"),
        ([-0.3, -0.4, 0.5], "no neuron is known to appear"),
    ],
)
def test_a_neuron_appears_where_it_stays_above_the_null(values: list[float | None], said: str) -> None:
    """A sign that is not that of half 0 does not count, nor what is gone again later."""
    import re

    sentence = _appearance([row(name, value) for name, value in zip("abcd", values, strict=False)], "m, all")
    assert re.search(said, sentence), sentence


def test_without_a_threshold_nothing_is_said_to_appear() -> None:
    assert "it is not known where it appears" in _appearance([row("a", -0.4), row("b", -0.5, None)], "m, all")
    assert holds(None, 0.5, 0.2) is None
    assert holds(0.3, None, 0.2) is False
