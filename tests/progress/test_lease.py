"""One driver a run: a second one is refused by name and host, and that of a process that died is taken over."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from skilljobs.errors import InputError, JobFailed
from skilljobs.progress import lease as lease_module
from skilljobs.progress.lease import LEASE_FOLDER, RunLease
from skilljobs.store.files import Folder

HOLDER = """
import sys, time
from skilljobs.progress.lease import RunLease
from skilljobs.store.files import Folder
with RunLease(Folder(sys.argv[1]), print) as lease:
    lease.acquire()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "EXPIRES_SECONDS", 0.6)
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.02)


def lease_on(folder: Path, notes: list[str] | None = None) -> RunLease:
    return RunLease(Folder(str(folder)), (notes if notes is not None else []).append)


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def files(folder: Path) -> list[Path]:
    return sorted((folder / LEASE_FOLDER).glob("*.json"))


def pretend_other_machine(folder: Path) -> dict[str, object]:
    """Change the newest lease into that of another machine, whose clock is a year ahead for all that matters."""
    stored: dict[str, object] = json.loads(files(folder)[-1].read_text())
    stored |= {"host": "elsewhere", "machine": "elsewhere", "id": "other"}
    files(folder)[-1].write_text(json.dumps(stored))
    return stored


def test_a_second_driver_is_refused_by_process_and_host(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with lease_on(tmp_path) as second, pytest.raises(InputError, match=f"process {process.pid} on .* is working"):
            second.acquire()
    finally:
        process.kill()
        process.wait()


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.wait()
    notes: list[str] = []
    begun = time.monotonic()
    with lease_on(tmp_path, notes) as second:
        second.acquire()
        assert time.monotonic() - begun < lease_module.EXPIRES_SECONDS
    assert "has died: this one takes the run over" in notes[0]


def test_a_lease_that_was_given_back_is_free(tmp_path: Path) -> None:
    for _ in range(3):
        notes: list[str] = []
        with lease_on(tmp_path, notes) as lease:
            lease.acquire()
            lease.acquire()
            time.sleep(0.2)
            assert json.loads(files(tmp_path)[-1].read_text())["renewed"] >= 1
        assert notes == []
    assert len(files(tmp_path)) == 1


def test_a_lease_of_another_machine_is_watched_and_expires_without_looking_at_clocks(tmp_path: Path) -> None:
    with lease_on(tmp_path) as first:
        first.acquire()
    stored = pretend_other_machine(tmp_path) | {"released": False}
    files(tmp_path)[-1].write_text(json.dumps(stored))
    notes: list[str] = []
    begun = time.monotonic()
    with lease_on(tmp_path, notes) as second:
        second.acquire()
    assert time.monotonic() - begun >= lease_module.EXPIRES_SECONDS
    assert "on elsewhere was working on this run" in notes[0]
    assert "on elsewhere has died" in notes[1]


def test_a_lease_of_another_machine_that_is_renewed_is_refused(tmp_path: Path) -> None:
    with lease_on(tmp_path) as first:
        first.acquire()
    stored, ended = pretend_other_machine(tmp_path) | {"released": False}, threading.Event()
    file = files(tmp_path)[-1]
    file.write_text(json.dumps(stored))

    def renew() -> None:
        renewed = 0
        while not ended.wait(0.05):
            renewed += 1
            text = json.dumps(stored | {"renewed": renewed})
            Folder(str(tmp_path)).write(f"{LEASE_FOLDER}/{file.name}", text.encode())

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with lease_on(tmp_path) as second, pytest.raises(InputError, match="on elsewhere is working on the run"):
            second.acquire()
    finally:
        ended.set()
        thread.join()


def test_of_many_that_take_over_together_one_gets_it(tmp_path: Path) -> None:
    won = Counter[str]()
    barrier = threading.Barrier(8)

    def take() -> None:
        lease = lease_on(tmp_path)
        barrier.wait()
        try:
            lease.acquire()
        except InputError:
            won["refused"] += 1
        else:
            won["held"] += 1
            leases.append(lease)

    leases: list[RunLease] = []
    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == {"held": 1, "refused": 7}
    leases[0].__exit__(None, None, None)


def test_a_job_whose_run_was_taken_over_stops_and_says_by_whom(tmp_path: Path) -> None:
    """As one that was suspended for longer than its lease, and goes on."""
    quick = "from skilljobs.progress import lease as module\nmodule.RENEW_SECONDS = 0.05\n"
    program = f"{quick}{HOLDER}"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    number = int(files(tmp_path)[-1].stem)
    taken = json.loads(files(tmp_path)[-1].read_text()) | {"host": "elsewhere", "pid": 7, "id": "other"}
    (tmp_path / LEASE_FOLDER / f"{number + 1:06d}.json").write_text(json.dumps(taken))
    process.communicate(timeout=20)
    assert process.returncode != 0


def test_it_is_said_who_took_over(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with lease_on(tmp_path) as lease:
                lease.acquire()
                number = int(files(tmp_path)[-1].stem)
                taken = json.loads(files(tmp_path)[-1].read_text()) | {"host": "elsewhere", "pid": 7, "id": "other"}
                (tmp_path / LEASE_FOLDER / f"{number + 1:06d}.json").write_text(json.dumps(taken))
                time.sleep(0.5)
        except JobFailed as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "process 7 on elsewhere took over the run" in str(caught[0])
