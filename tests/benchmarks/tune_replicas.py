"""Tuning with several scorers of one thread each: the seconds until the validation loss is the same, and the same bits.

`python -m tests.benchmarks.tune_replicas [--model DIR] [--data FILE] [--steps N] [--prompts K] [--json FILE]`
"""

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import click
import ray

import skilljobs
from skilljobs.lm.prompt_file import prompt_vectors
from skilljobs.progress.reporter import SilentReporter
from skilljobs.spec import TINY
from skilljobs.store.run import PROMPT_NAME
from tests.benchmarks.timing import machine


class TunedError(Exception):
    """Tuning is done, and the rest of the job is of no interest."""


class UntilTuned(SilentReporter):
    """Ends a job after its tuning."""

    def __init__(self) -> None:
        self._stage, self._is_tuned = "", False
        self.seconds = 0.0

    def begin(self, stage: str, total: int | None) -> None:
        if self._is_tuned:
            raise TunedError
        self._stage = stage

    def end(self, detail: str, seconds: float) -> None:
        if self._stage == "tune":
            self._is_tuned, self.seconds = True, seconds


def tuned(folder: Path, replicas: int, options: dict[str, Any]) -> tuple[float, float, str]:
    """The seconds of tuning with some replicas, the last validation loss, and a digest of the prompts."""
    reporter = UntilTuned()
    with contextlib.suppress(TunedError):
        skilljobs.submit(out=str(folder), run_id="run", replicas=replicas, report=False, reporter=reporter, **options)
    prompts = sorted(folder.rglob(PROMPT_NAME.rpartition("/")[2]))
    digest = hashlib.sha256(b"".join(prompt_vectors(prompt.read_bytes()).tobytes() for prompt in prompts)).hexdigest()
    run = skilljobs.open_run(str(folder / "run"))
    return reporter.seconds, run.prompts()[0].tuning().collect().sort("step", "split")["loss"][-1], digest


@click.command()
@click.option("--model", default=TINY, show_default=True, metavar="DIR")
@click.option("--data", metavar="FILE", help="Real BIG-bench arithmetic; without it the task makes its own.")
@click.option("--steps", default=100, show_default=True, metavar="N")
@click.option("--prompts", default=1, show_default=True, metavar="K")
@click.option("--replicas", default="1,2,4", show_default=True, metavar="N,...")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(model: str, data: str | None, steps: int, prompts: int, replicas: str, json_file: str | None) -> None:
    """Measure the seconds of a stage that is the same steps, with the same bits, for any number of scorers."""
    click.echo(machine())
    counts = [int(count) for count in replicas.split(",")]
    options = {"task": "arithmetic", "model": model, "data": data, "tune_steps": steps, "prompts": prompts, "null": 1}
    figures: dict[int, dict[str, Any]] = {}
    for count in counts:
        ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False)
        try:
            with tempfile.TemporaryDirectory() as folder:
                seconds, loss, digest = tuned(Path(folder), count, options)
        finally:
            ray.shutdown()
        figures[count] = {"seconds": seconds, "loss": loss, "digest": digest}
        ratio = figures[counts[0]]["seconds"] / seconds
        click.echo(f"  {count} replicas  {seconds:7.1f} s   {ratio:5.2f}   validation loss {loss:.4f}   {digest[:12]}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
