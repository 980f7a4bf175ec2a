"""What planning a job takes for each row of a table, and how much memory of the driver.

`python -m tests.benchmarks.planning [--rows N ...] [--kind parquet|csv|jsonl]`

Each size runs in a process of its own, which plans the job of a file and writes the examples as the first stage
does. CPU seconds are reported: on a busy machine, they are more reproducible than the time that passes.
"""

import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.pipeline.prepare_stage import write_examples
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import TINY, JobSpec
from skilljobs.store.files import Folder
from tests.benchmarks.reduce import peak_mb

ROW_GROUP = 250_000


def write_table(path: Path, rows: int) -> None:
    """Short questions with a target, a number, a yes/no column, and a group."""
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, ROW_GROUP):
        table = some_rows(start, min(start + ROW_GROUP, rows))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def as_text(path: Path, kind: str) -> Path:
    """The same table as a file of text, in place of it."""
    frame, text = pl.scan_parquet(path), path.with_suffix(f".{kind}")
    if kind == "csv":
        frame.sink_csv(text)
    else:
        frame.sink_ndjson(text)
    path.unlink()
    return text


def some_rows(start: int, stop: int) -> pa.Table:
    """The rows from `start` to before `stop`."""
    first, second = np.random.default_rng(start).integers(0, 1000, (2, stop - start))
    columns = {
        "example_id": [f"row-{number}" for number in range(start, stop)],
        "text": [f"What is {a} plus {b}?" for a, b in zip(first.tolist(), second.tolist(), strict=True)],
        "target": [f" {total}" for total in (first + second).tolist()],
        "size": (first + second).astype(np.float64),
        "carry": (first % 10 + second % 10) > 9,
        "kind": np.where(first % 2, "odd", "even"),
    }
    return pa.table(columns)


def plan(path: Path, out: Path) -> dict[str, float]:
    """CPU seconds of planning and of writing the examples, the time that passes, and the peak of memory in MB."""
    before, began, at_first = time.process_time(), time.perf_counter(), peak_mb()
    planned = plan_job(JobSpec(data=str(path), model=TINY, by=("kind",)))
    digest = planned.examples_digest
    after = time.process_time()
    write_examples(planned, Folder(str(out)))
    assert digest
    return {
        "plan": after - before,
        "write": time.process_time() - after,
        "passed": time.perf_counter() - began,
        "shards": len(planned.shards),
        "peak_mb": peak_mb(),
        "before_mb": at_first,
    }


@click.command()
@click.option("--rows", multiple=True, type=int, default=(10_000, 100_000, 1_000_000))
@click.option("--kind", type=click.Choice(["parquet", "csv", "jsonl"]), default="parquet")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(rows: tuple[int, ...], kind: str, json_file: str | None) -> None:
    """Measure planning at several sizes."""
    found = {}
    click.echo(
        "| rows | shards | planning, microseconds a row | writing the examples | peak MB | before planning |\n"
        "|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for count in rows:
            path = Path(folder, f"{count}.parquet")
            write_table(path, count)
            if kind != "parquet":
                path = as_text(path, kind)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures = found[count] = pool.apply(plan, (path, Path(folder, f"out-{count}")))
            per_row = {name: 1e6 * figures[name] / count for name in ("plan", "write")}
            cells = [f"{per_row['plan']:.1f}", f"{per_row['write']:.1f}", f"{figures['peak_mb']:.0f}"]
            click.echo(f"| {count:,} | {figures['shards']} | {' | '.join(cells)} | {figures['before_mb']:.0f} |")
            path.unlink()
    if json_file:
        Path(json_file).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
