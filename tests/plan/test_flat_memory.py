"""Planning holds nothing for each row: more rows take no more memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from skilljobs.plan import job_plan
from skilljobs.spec import TINY, JobSpec
from skilljobs.spill import spilled_tables
from skilljobs.stats import long_columns, metric_traps
from skilljobs.tasks.table import Table
from tests.plan.test_row_reader import small

BYTES_A_ROW = 4.0
"""A number for each row would take eight. Where a batch or bucket has so few rows, what it takes beside them counts."""
STEPS = ("read_rows", "draw_examples", "choose_metrics", "external_values", "most_skewed", "metric_traps")


def write(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(rows)
    numbers, units = rng.integers(0, 1000, rows), rng.integers(0, rows, rows)
    table = {
        "text": [f"What is {number} plus one?" for number in numbers.tolist()],
        "target": [f" {number + 1}" for number in numbers.tolist()],
        "unit": [f"u{unit}" for unit in units.tolist()],
        "split": np.where(units % 10 > 1, "test", np.where(units % 10, "train", "validation")),
        "size": np.where(numbers < 5, np.nan, numbers.astype(np.float64)),
        "rare": rng.random(rows) < 0.01,
        "kind": np.where(numbers % 2, "odd", "even"),
        "note": [f"note {number}" for number in rng.integers(0, 10 * rows, rows).tolist()],
    }
    parquet.write_table(pa.table(table), path, row_group_size=1000)
    return path


def memory_of_planning(path: Path, **options: Any) -> dict[str, int]:
    """Bytes of Python and NumPy at the most in each step, and held behind it; what Arrow holds is in batches."""
    found: dict[str, int] = {}

    def measured(name: str) -> Callable[..., Any]:
        step = getattr(job_plan, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            tracemalloc.reset_peak()
            result = step(*args, **kwargs)
            found[f"held behind {name}"], found[f"peak of {name}"] = tracemalloc.get_traced_memory()
            return result

        return run

    tracemalloc.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in STEPS:
                patch.setattr(job_plan, name, measured(name))
            planned = job_plan.plan_job(JobSpec(data=str(path), model=TINY, **options))
        tracemalloc.reset_peak()
        assert planned.examples_digest
        found["peak of the digest"] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 2 * len(STEPS) + 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"by": ("kind",)}, {"limit": 0.4, "seed": 3}], ids=["all rows", "a sample"])
def test_more_rows_take_no_more_memory(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spilled_tables, "IN_MEMORY", 1 << 14)
    monkeypatch.setattr(long_columns, "PART_ROWS", 1000)
    monkeypatch.setattr(metric_traps, "ROWS_AT_A_TIME", 1000)
    monkeypatch.setattr(Table, "group", "kind")
    found = []
    with small(1000):
        for rows in (2000, 8000, 64_000):
            asked = options | ({"limit": int(rows * options["limit"])} if "limit" in options else {})
            found.append(memory_of_planning(write(tmp_path / f"{rows}.parquet", rows), **asked))
    growth = {step: (found[2][step] - found[1][step]) / 56_000 for step in found[2]}
    assert {step: bytes_a_row for step, bytes_a_row in growth.items() if bytes_a_row > BYTES_A_ROW} == {}
