"""Random kills of all that works on a job, until its run is complete: `python -m tests.integration.soak --kills 50`.

Each run is submitted again until it is complete; its correlations and scores must then be those of a run that nobody
disturbed, bit for bit. `--out s3://BUCKET/runs` soaks object storage, which the environment must lead to.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from skilljobs.progress.job_progress import read_progress
from skilljobs.store.files import Folder
from skilljobs.store.integrity import matching_names
from skilljobs.store.shards import sha256
from tests.integration.machines import COMMAND
from tests.models import save_random_llama
from tests.tables import random_rows, write_jsonl

TARGETS = {
    "scorer": ("ScorerActor",),
    "reducer or other worker": ("ray::",),
    "raylet": ("raylet",),
    "GCS": ("gcs_server",),
}
"""What is killed, and what is in the names of its processes."""
DRIVERS = ("driver", "driver and all its processes")
KILLS_A_RUN = 5
PATIENCE = 240.0


@dataclass
class Soak:
    """One soak: the command, where runs go, and what was found."""

    command: list[str]
    out: str
    rng: random.Random
    killed: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By target, stage at the kill, and exit code of the driver."""

    def start(self, run_id: str) -> psutil.Popen:
        return psutil.Popen(
            [*self.command, "--out", self.out, "--run-id", run_id],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, run_id: str) -> dict[str, str]:
        """Let a run become complete; its results by name."""
        for _ in range(3):
            process = self.start(run_id)
            _, errors = process.communicate(timeout=PATIENCE)
            if process.returncode == 0:
                return self.results(run_id)
            print(f"  not yet: {errors.strip().splitlines()[-1]}", flush=True)
        raise AssertionError(f"{run_id} did not become complete: {errors}")

    def results(self, run_id: str) -> dict[str, str]:
        folder = Folder(f"{self.out}/{run_id}")
        names = matching_names(folder, ["correlations/*.parquet", "top.parquet", "activations.parquet"])
        return {name: sha256(folder.read(name)) for name in names}

    def kill_one(self, run_id: str, longest: float) -> bool:
        """Submit, kill something at a random moment, and wait for the driver. Returns whether anything was killed."""
        process = self.start(run_id)
        time.sleep(self.rng.uniform(1.0, longest))
        there = {target: found for target in (*TARGETS, *DRIVERS) if (found := self._victims(process, target))}
        target = self.rng.choice(sorted(there)) if there else ""
        victims = there.get(target, [])
        before = read_progress(Folder(f"{self.out}/{run_id}"))
        if process.poll() is not None or not victims:
            process.communicate(timeout=PATIENCE)
            return False
        stage = (before.stage if before and before.state == "running" else None) or "before its journal"
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        process.communicate(timeout=PATIENCE)
        self.killed[target, stage, process.returncode] += 1
        return True

    def _victims(self, driver: psutil.Popen, target: str) -> list[psutil.Process]:
        try:
            children = driver.children(recursive=True)
            if target in DRIVERS:
                return [driver] if target == "driver" else [*children, driver]
            words = TARGETS[target]
            fitting = [child for child in children if any(word in " ".join(child.cmdline()) for word in words)]
        except psutil.Error:
            return []
        return [self.rng.choice(fitting)] if fitting else []


def soak(kills: int, out: str, folder: Path, seed: int) -> Soak:
    """Kill `kills` times.

    Raises:
        AssertionError: a run did not become complete, or is not what it is without kills.
    """
    model = save_random_llama(folder / "model", width=64, neurons=96, layers=3, heads=2)
    data = write_jsonl(folder / "table.jsonl", random_rows(1200))
    command = [
        *COMMAND, "submit", "--data", str(data), "--model", str(model), "--by", "kind", "--tune-steps", "50",
        "--prompt-length", "4", "--null", "2", "--shard-size", "12", "--no-report",
    ]  # fmt: skip
    found = Soak(command, out, random.Random(seed))
    begun = time.monotonic()
    expected = found.finish("undisturbed")
    longest = time.monotonic() - begun
    print(f"undisturbed: {longest:.0f} s, {len(expected)} files", flush=True)
    number = 0
    while found.killed.total() < kills:
        number += 1
        run_id = f"soak-{number}"
        for _ in range(min(KILLS_A_RUN, kills - found.killed.total())):
            found.kill_one(run_id, longest)
        assert found.finish(run_id) == expected, f"{run_id} differs"
        print(f"{run_id}: as undisturbed, after {found.killed.total()} kills in all", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--out", default=None, help="Folder or URI of the runs.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory() as folder:
        found = soak(options.kills, options.out or f"{folder}/runs", Path(folder), options.seed)
    rows = sorted(found.killed.items())
    print("| killed | in the stage | driver's exit code | times |\n|---|---|---|---|")
    for (target, stage, code), times in rows:
        print(f"| {target} | {stage} | {code} | {times} |")
    print(json.dumps({"kills": found.killed.total(), "differences": 0}))


if __name__ == "__main__":
    main()
