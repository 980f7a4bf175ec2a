"""What planning a job takes for each row of a table, and how much memory of the driver.

`python -m tests.benchmarks.planning [--rows N ...]`

Each size runs in a process of its own, which plans the job of a Parquet file and writes the examples as the first stage
does. CPU seconds are reported: on a busy machine, they are more reproducible than the time that passes.
"""

import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.pipeline.prepare_stage import write_examples
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import TINY, JobSpec
from skilljobs.store.files import Folder
from tests.benchmarks.reduce import peak_mb


def write_table(path: Path, rows: int) -> None:
    """Short questions with a target, a number, a yes/no column, and a group."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 1000, (2, rows))
    columns = {
        "example_id": [f"row-{number}" for number in range(rows)],
        "text": [f"What is {a} plus {b}?" for a, b in zip(first.tolist(), second.tolist(), strict=True)],
        "target": [f" {total}" for total in (first + second).tolist()],
        "size": (first + second).astype(np.float64),
        "carry": (first % 10 + second % 10) > 9,
        "kind": np.where(first % 2, "odd", "even"),
    }
    pq.write_table(pa.table(columns), path)


def plan(path: Path, out: Path) -> dict[str, float]:
    """CPU seconds of planning and of writing the examples, and the peak of memory in MB."""
    before, at_first = time.process_time(), peak_mb()
    planned = plan_job(JobSpec(data=str(path), model=TINY, by=("kind",)))
    digest = planned.examples_digest
    after = time.process_time()
    write_examples(planned, Folder(str(out)))
    assert digest
    return {"plan": after - before, "write": time.process_time() - after, "peak_mb": peak_mb(), "before_mb": at_first}


@click.command()
@click.option("--rows", multiple=True, type=int, default=(10_000, 100_000))
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(rows: tuple[int, ...], json_file: str | None) -> None:
    """Measure planning at several sizes."""
    found = {}
    click.echo(
        "| rows | planning, microseconds a row | writing examples, microseconds a row | peak MB |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for count in rows:
            path = Path(folder, f"{count}.parquet")
            write_table(path, count)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures = found[count] = pool.apply(plan, (path, Path(folder, f"out-{count}")))
            per_row = {name: 1e6 * figures[name] / count for name in ("plan", "write")}
            click.echo(f"| {count:,} | {per_row['plan']:.1f} | {per_row['write']:.1f} | {figures['peak_mb']:.0f} |")
    if json_file:
        Path(json_file).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
