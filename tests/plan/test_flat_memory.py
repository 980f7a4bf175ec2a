"""Planning holds nothing for each row: more rows take no more memory."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import TINY, JobSpec
from skilljobs.spill import spilled_tables
from skilljobs.stats import long_columns, metric_traps
from tests.plan.test_row_reader import small

BYTES_A_ROW = 4.0
"""A number for each row would take eight. Where a batch or bucket has so few rows, what it takes beside them counts."""


def write(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(rows)
    numbers = rng.integers(0, 1000, rows)
    table = {
        "text": [f"What is {number} plus one?" for number in numbers.tolist()],
        "target": [f" {number + 1}" for number in numbers.tolist()],
        "unit": [f"u{unit}" for unit in rng.integers(0, rows, rows).tolist()],
        "size": np.where(numbers < 5, np.nan, numbers.astype(np.float64)),
        "rare": rng.random(rows) < 0.01,
        "kind": np.where(numbers % 2, "odd", "even"),
        "note": [f"note {number}" for number in rng.integers(0, 10 * rows, rows).tolist()],
    }
    parquet.write_table(pa.table(table), path, row_group_size=1000)
    return path


def peak_of_planning(path: Path, **options: Any) -> int:
    """Bytes, of Python and NumPy; what Arrow holds is in batches."""
    tracemalloc.start()
    try:
        planned = plan_job(JobSpec(data=str(path), model=TINY, **options))
        assert planned.examples_digest
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"by": ("kind",)}, {"limit": 0.4, "seed": 3}], ids=["all rows", "a sample"])
def test_more_rows_take_no_more_memory(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spilled_tables, "IN_MEMORY", 1 << 14)
    monkeypatch.setattr(long_columns, "PART_ROWS", 1000)
    monkeypatch.setattr(metric_traps, "ROWS_AT_A_TIME", 1000)
    peaks = []
    with small(1000):
        for rows in (2000, 8000, 64_000):
            asked = options | ({"limit": int(rows * options["limit"])} if "limit" in options else {})
            peaks.append(peak_of_planning(write(tmp_path / f"{rows}.parquet", rows), **asked))
    assert (peaks[2] - peaks[1]) / 56_000 < BYTES_A_ROW
