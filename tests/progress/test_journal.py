"""What a job tells of itself in its run's directory, and that it stops when it is told to there."""

import os
import threading
import time
from pathlib import Path

import pytest
from skilljobs.engine import journal as module

from skilljobs.errors import JobFailed
from skilljobs.progress.job_state import ask_to_stop, asked_to_stop, log_of, progress_of
from skilljobs.progress.journal import Journal
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.files import Folder
from skilljobs.store.reader import RunReader
from skilljobs.store.run import PROGRESS_NAME


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.05)


def test_progress_and_log_are_there_while_it_works_and_after(tmp_path: Path) -> None:
    run = RunReader(str(tmp_path))
    assert progress_of(run) is None
    with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
        journal.begin("collect", 40)
        journal.advance(10, "1 of 4 shards")
        time.sleep(0.3)
        journal.advance(20, "2 of 4 shards")
        told = progress_of(run)
        assert told is not None
        assert told.is_running
        assert "collect 10 of 40, 1 of 4 shards" in told.text
        time.sleep(0.3)
        told = progress_of(run)
        assert told is not None
        assert "collect 20 of 40, 2 of 4 shards" in told.text
        assert " left (" in told.text
        journal.end("40 examples", 1.5)
    told = progress_of(run)
    assert (told and told.state) == "done"
    assert log_of(run)[0][-1].endswith("collect: 40 examples (1.5 s)")
    with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
        journal.note("again")
    assert log_of(run)[1] == 2, "a job that goes on goes on with the log"


def test_a_failure_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(JobFailed), Journal(Folder(str(tmp_path)), SilentReporter()):
        raise JobFailed("shard 3 failed")
    told = progress_of(RunReader(str(tmp_path)))
    assert told is not None
    assert (told.state, told.text.endswith("shard 3 failed")) == ("failed", True)
    assert log_of(RunReader(str(tmp_path)))[0][-1].endswith("failed: shard 3 failed")


def test_a_word_to_stop_interrupts_and_an_old_one_does_not(tmp_path: Path) -> None:
    run = RunReader(str(tmp_path))
    ask_to_stop(run)
    with Journal(Folder(str(tmp_path)), SilentReporter()):
        time.sleep(0.2)
        assert not asked_to_stop(run)

    def work() -> None:
        with Journal(Folder(str(tmp_path)), SilentReporter()):
            ask_to_stop(run)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        work()
    told = progress_of(run)
    assert (told and told.state) == "stopped"
    assert not asked_to_stop(run)


def test_a_long_log_is_followed_beyond_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 5)
    run, shown, seen = RunReader(str(tmp_path)), 0, list[str]()
    for turn in range(2):
        with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
            for number in range(4):
                journal.note(f"{turn} {number}")
        lines, shown = log_of(run, shown)
        seen += [line.partition("  ")[2] for line in lines]
    assert seen == [f"{turn} {number}" for turn in range(2) for number in range(4)]
    assert (len(log_of(run)[0]), shown) == (5, 8)


def test_a_job_in_another_thread_stops_when_it_next_tells_something(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with Journal(Folder(str(tmp_path)), SilentReporter()) as journal:
                journal.begin("collect", None)
                ask_to_stop(RunReader(str(tmp_path)))
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


def test_a_second_job_is_told_of_the_first(tmp_path: Path) -> None:
    notes: list[str] = []
    second = SilentReporter()
    second.note = notes.append  # type: ignore[method-assign]
    with Journal(Folder(str(tmp_path)), SilentReporter()), Journal(Folder(str(tmp_path)), second):
        pass
    assert len(notes) == 1
    assert f"maybe a job works on this run already: process {os.getpid()}" in notes[0]
    with Journal(Folder(str(tmp_path)), second):
        pass
    assert len(notes) == 1


def test_a_job_that_has_long_been_silent_has_died(tmp_path: Path) -> None:
    with Journal(Folder(str(tmp_path)), SilentReporter()):
        pass
    file = tmp_path / PROGRESS_NAME
    text = file.read_text().replace('"done",', '"running",', 1).replace('"at": "20', '"at": "19')
    file.write_text(text)
    told = progress_of(RunReader(str(tmp_path)))
    assert told is not None
    assert (told.state, told.is_running) == ("silent", False)
    assert "run the same command again to resume" in told.text
