"""Scorers that do nothing but fail in the ways that scorers fail. In a module of their own, so that workers find it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ray

from skilljobs.errors import InputError
from skilljobs.plan.work import LoadedModel
from skilljobs.stats.neurons import LayerNeurons

REPLY_SECONDS = 0.5
"""Long enough for the result of the shard before to have left the process, as in a real scorer."""


def fake_model(versions: dict[str, str]) -> LoadedModel:
    """What a scorer without a model says."""
    return LoadedModel("elsewhere", "abacus", versions, "sdpa", False, (LayerNeurons(0, 1),), os.getpid())


@ray.remote(max_restarts=0, max_task_retries=0, num_cpus=0.1, concurrency_groups={"pulse": 1})
class FakeScorer:
    """`folder` remembers what was tried, over deaths: a file an attempt."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @ray.method(concurrency_group="pulse")
    def ping(self) -> None: ...

    def load(self) -> LoadedModel:
        if (self.folder / "refuse").exists():
            raise InputError("no such model")
        if (self.folder / "die-loading").exists():
            os._exit(1)
        if (self.folder / "hang-loading").exists():
            (self.folder / "hang-loading").unlink()
            time.sleep(REPLY_SECONDS)
            stop_this_process()
        version = self.folder / "version"
        if not version.exists():
            return fake_model({})
        time.sleep(REPLY_SECONDS)
        return fake_model({"torch": version.read_text()})

    def score(self, shard: int, kind: str) -> int:
        attempt = len(list(self.folder.glob(f"try-{shard}-*")))
        (self.folder / f"try-{shard}-{attempt}").touch()
        if shard == 3 and (kind == "die-always" or (kind == "die-once" and attempt == 0)):
            time.sleep(REPLY_SECONDS)
            os._exit(1)
        if shard == 3 and kind == "die-at-once":
            os._exit(1)
        if shard == 3 and (kind == "hang-always" or (kind == "hang-once" and attempt == 0)):
            time.sleep(REPLY_SECONDS)
            stop_this_process()
        if shard == 3 and kind == "slow-once":
            if attempt == 0:
                wait_for_file(self.folder / "finished")
            (self.folder / "finished").touch()
        if shard == 3 and kind == "slow-for-ever" and attempt == 0:
            wait_for_file(self.folder / "never")
        if kind == "raise-always" and shard == 3:
            raise ValueError("row 7 is odd")
        if kind == "raise-once" and attempt == 0:
            raise ValueError("a passing fault")
        time.sleep(0.01)
        return shard

    def count_and_hang(self, to: int) -> Iterator[int]:
        for number in range(to):
            marker = self.folder / "hung"
            if number == 2 and not marker.exists():
                marker.touch()
                time.sleep(REPLY_SECONDS)
                stop_this_process()
            yield number

    def count(self, to: int) -> Iterator[int]:
        for number in range(to):
            marker = self.folder / "died"
            if number == 2 and not marker.exists():
                marker.touch()
                os._exit(1)
            yield number


def stop_this_process() -> None:
    """Hang as a process does whose machine hangs: nothing of it runs any more, and it does not end."""
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()  # the signal reaches this thread a moment later


def wait_for_file(path: Path) -> None:
    """Wait until there is a file."""
    while not path.exists():
        time.sleep(0.05)
