"""What it takes to turn the shards of a large model into correlations, beside only reading and decoding them.

`python -m tests.benchmarks.reduce [--layers N] [--width N] [--metrics N] [--nulls N] [--shards N] [--tokens P]`

Each step runs in a process of its own, and its CPU seconds are reported: on a busy machine, they are more reproducible
than the time that passes. Steps are linear in layers, so a few layers tell what eighty take.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pyarrow import parquet as pq

from skilljobs.reduce.final_tables import delete_unranked, write_correlations, write_rankings
from skilljobs.reduce.layers import ReduceJob, pairs, reduce_layer
from skilljobs.reduce.shard_sums import read_totals
from skilljobs.reduce.significance import rank_pair
from skilljobs.store.attempts import sums_names
from skilljobs.store.files import Folder
from tests.benchmarks.synthetic_run import Shape, write_run

ROUNDS = 3
Step = Callable[[ReduceJob, int], Any]


def decode(job: ReduceJob, layer: int) -> None:
    """Read every column of a layer's sums, and drop them."""
    folder = Folder(job.uri)
    for (name,) in sums_names(folder).values():
        with folder.open(name) as file:
            pq.ParquetFile(file).read_row_group(layer)


def peak_mb() -> float:
    """The largest memory of this process so far: that of `getrusage` would be the parent's, if that was larger."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(function: Step, job: ReduceJob, numbers: range) -> dict[str, float]:
    """CPU seconds and seconds of a step in this process, and the peak of its memory in MB; a first call warms up."""
    function(job, numbers[0])
    if function is reduce_layer:
        delete_unranked(job)  # a run's reducers overwrite nothing
    before, begun = time.process_time(), time.perf_counter()
    for number in numbers:
        function(job, number)
    cpu, seconds = time.process_time() - before, time.perf_counter() - begun
    return {"cpu": cpu, "seconds": seconds, "peak_mb": peak_mb()}


def sums_only(job: ReduceJob, layer: int) -> None:
    """Read the sums of a layer and add them up."""
    read_totals(Folder(job.uri), job.halves, layer, job.layout)


def fresh(function: Step, job: ReduceJob, numbers: range) -> dict[str, float]:
    """`measured` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (function, job, numbers))


def best_of(functions: dict[str, Step], job: ReduceJob) -> dict[str, dict[str, float]]:
    """The round of least CPU seconds of each; they take turns."""
    found: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            figures = fresh(function, job, range(job.layers))
            if name not in found or figures["cpu"] < found[name]["cpu"]:
                found[name] = figures
    return found


def top_seconds(uri: str) -> float:
    """Seconds of `skilljobs top`, the interpreter's start included."""
    command = [sys.executable, "-m", "skilljobs", "top", uri, "--metric", "metric0"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def measure(uri: str, shape: Shape) -> dict[str, Any]:
    """All figures; seconds are those of one layer, except for `top`."""
    job = shape.reduce_job(uri)
    steps = best_of({"read and decode": decode, "read and add up": sums_only, "reduce": reduce_layer}, job)
    ranking = {"rank": fresh(rank_pair, job, range(len(pairs(job.layout))))}
    ranking["write"] = fresh(write_correlations, job, range(job.layers))
    write_rankings(job, [rank_pair(job, place) for place in range(len(pairs(job.layout)))])
    per_layer = {
        name: figures | {"cpu": figures["cpu"] / shape.layers, "seconds": figures["seconds"] / shape.layers}
        for name, figures in (steps | ranking).items()
    }
    return {
        "shape": vars(shape),
        "per_layer": per_layer,
        "reduce_over_decode": per_layer["read and decode"]["cpu"] / per_layer["reduce"]["cpu"],
        "top_seconds": min(top_seconds(uri) for _ in range(ROUNDS)),
    }


@click.command()
@click.option("--layers", default=4)
@click.option("--width", default=28_672)
@click.option("--metrics", default=8)
@click.option("--nulls", default=0)
@click.option("--groups", default=4)
@click.option("--shards", default=16)
@click.option("--tokens", type=int, help="Prompt positions that are kept; by default they are averaged.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the shards are written; deleted afterwards.")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(folder: Path | None, json_file: str | None, **numbers: Any) -> None:
    """Measure reducing, ranking and writing at the shape of a large model."""
    shape = Shape(**numbers)
    with tempfile.TemporaryDirectory(dir=folder) as uri:
        begun = time.process_time()
        write_run(uri, shape)
        written = sum(file.stat().st_size for file in Path(uri, "shards").iterdir())
        click.echo(f"{written / 1e9:.2f} GB of shards in {time.process_time() - begun:.0f} CPU seconds")
        figures = measure(uri, shape)
    click.echo("| step | CPU seconds a layer | peak MB |\n|---|---|---|")
    for name, step in figures["per_layer"].items():
        click.echo(f"| {name} | {step['cpu']:.2f} | {step['peak_mb']:.0f} |")
    click.echo(f"reducing runs at {figures['reduce_over_decode']:.2f} of the rate of reading and decoding")
    click.echo(f"top: {figures['top_seconds']:.1f} s")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
