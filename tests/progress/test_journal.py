"""The progress and log that a job keeps in its run's directory, and that it stops when it is asked to there."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skilljobs.errors import JobFailed, Terminated
from skilljobs.progress import journal as journal_module
from skilljobs.progress.job_state import is_stop_requested, job_state, log_lines, request_stop
from skilljobs.progress.journal import Journal
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.files import Folder
from skilljobs.store.run import PROGRESS_NAME


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(journal_module, "WRITE_SECONDS", 0.05)


def test_progress_and_log_are_there_while_it_works_and_after(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    assert job_state(run) is None
    with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
        journal.begin("collect", 40)
        journal.advance(10, "1 of 4 shards")
        time.sleep(0.3)
        journal.advance(20, "2 of 4 shards")
        state = job_state(run)
        assert state is not None
        assert state.is_running
        assert "collect 10 of 40, 1 of 4 shards" in state.text
        time.sleep(0.3)
        state = job_state(run)
        assert state is not None
        assert "collect 20 of 40, 2 of 4 shards" in state.text
        assert " left (" in state.text
        journal.end("40 examples", 1.5)
    state = job_state(run)
    assert (state and state.state) == "done"
    assert log_lines(run)[0][-1].endswith("collect: 40 examples (1.5 s)")
    with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
        journal.note("again")
    assert log_lines(run)[1] == 2, "a resumed job continues the log"


def test_a_failure_is_recorded_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(JobFailed), Journal(Folder(str(tmp_path)), SilentReporter()):
        raise JobFailed("shard 3 failed")
    state = job_state(Folder(str(tmp_path)))
    assert state is not None
    assert (state.state, state.text.endswith("shard 3 failed")) == ("failed", True)
    assert log_lines(Folder(str(tmp_path)))[0][-1].endswith("failed: shard 3 failed")


def test_a_request_to_stop_interrupts_and_an_old_one_does_not(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    request_stop(run)
    with Journal(Folder(str(tmp_path)), SilentReporter()):
        time.sleep(0.2)
        assert not is_stop_requested(run)

    def work() -> None:
        with Journal(Folder(str(tmp_path)), SilentReporter()):
            request_stop(run)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                time.sleep(0.01)

    with pytest.raises(Terminated):
        work()
    state = job_state(run)
    assert (state and state.state) == "stopped"
    assert not is_stop_requested(run)


def test_a_long_log_is_followed_beyond_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MOST_LINES", 5)
    run, shown, seen = Folder(str(tmp_path)), 0, list[str]()
    for turn in range(2):
        with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
            for number in range(4):
                journal.note(f"{turn} {number}")
        lines, shown = log_lines(run, shown)
        seen += [line.partition("  ")[2] for line in lines]
    assert seen == [f"{turn} {number}" for turn in range(2) for number in range(4)]
    assert (len(log_lines(run)[0]), shown) == (5, 8)


def test_a_job_in_another_thread_stops_when_it_next_reports(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
                journal.begin("collect", None)
                request_stop(Folder(str(tmp_path)))
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    journal.advance(1, "")
                    time.sleep(0.02)
        except KeyboardInterrupt as interrupt:
            caught.append(interrupt)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught


def test_a_job_that_has_long_been_silent_has_died(tmp_path: Path) -> None:
    with Journal(Folder(str(tmp_path)), SilentReporter()):
        pass
    file = tmp_path / PROGRESS_NAME
    text = file.read_text().replace('"done",', '"running",', 1).replace('"at": "20', '"at": "19')
    file.write_text(text)
    state = job_state(Folder(str(tmp_path)))
    assert state is not None
    assert (state.state, state.is_running) == ("silent", False)
    assert "the same command resumes" in state.text


def test_a_request_stops_a_job_that_ignores_sigint(tmp_path: Path) -> None:
    """As one does that a script started in the background, or nohup."""
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from skilljobs.progress import journal\n"
        "from skilljobs.progress.reporter import SilentReporter\n"
        "from skilljobs.store.files import Folder\n"
        "journal.LOOK_SECONDS = 0.02\n"
        f"with journal.Journal(Folder({str(tmp_path)!r}), SilentReporter()):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "started\n"
    request_stop(Folder(str(tmp_path)))
    _, errors = job.communicate(timeout=30)
    assert "Terminated" in errors
    state = job_state(Folder(str(tmp_path)))
    assert state is not None
    assert state.state == "stopped"
