"""Numbers are never cut, however narrow the terminal is."""

from typing import Any

import polars as pl
import pytest

from skilljobs.cli import tables
from skilljobs.cli.ablation_table import print_ablation
from skilljobs.store.follow_up_schema import ABLATION

LEVELS = [f"asked=a skill with a rather long name, number {number}" for number in range(10)]
SCHEMA = pl.DataFrame(ABLATION.empty_table()).schema


def rows_of_matrix(size: float) -> pl.DataFrame:
    """The neurons of ten skills, each changed on the examples of all ten and of everything."""
    rows: list[dict[str, Any]] = [
        {"metric": metric, "group": group, "set": "top", "k": 10, "outcome": "target_logprob", "how": "mean", "n": 74,
         "at": "prompt", "delta_target_logprob": size * (place + 1) / (10 + other), "ci_low": -0.000489, "p": 1.0,
         "ci_high": 0.004713, "controls": 19, "seen_half1": False}
        for place, metric in enumerate(LEVELS) for other, group in enumerate([*LEVELS, "all"])
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA)


@pytest.mark.parametrize("width", [120, 60])
@pytest.mark.parametrize(("size", "first", "last"), [(0.0022, "+0.22", "+2.20"), (2.0, "+0.20", "+2.00")])
def test_a_wide_matrix_has_all_of_its_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, size: float, first: str, last: str, width: int
) -> None:
    monkeypatch.setattr(tables, "WIDTH_WITHOUT_TERMINAL", width)
    print_ablation(rows_of_matrix(size), "table", "asked")
    shown = capsys.readouterr().out
    everything, _, matrix = shown.partition("change of the target_logprob")
    assert ("times 10^-3" in matrix) == (size < 0.1)
    numbered = [line for line in matrix.splitlines() if line.strip()[:1].isdigit() and "  ask" in line]
    assert len(numbered) == 10
    assert all(line.count("+") == 10 for line in numbered)
    assert not any(line.endswith("…") or "+…" in line for line in numbered)
    assert numbered[0].split()[-10] == first
    assert numbered[9].split()[-10] == last
    assert numbered[9].rstrip()[-5:] == f"{2.2 * 10 / 19 if size < 0.1 else 2.0 * 10 / 19:+.2f}", (
        "the last one is whole"
    )
    assert everything.count("-0.000489 .. +0.00471") == 10
    assert everything.count("   10  ") == 10
    assert everything.count("   74") == 10
