"""Signals that really come, in this process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from skilljobs.cli.main import _exit_code
from skilljobs.errors import InputError, Terminated
from skilljobs.progress.interrupts import interrupted_by, signals_raised
from skilljobs.progress.job_state import job_state
from skilljobs.progress.journal import Journal
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.files import Folder


@pytest.fixture(autouse=True)
def _interrupts_are_not_ignored() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def library_interrupted_by(number: signal.Signals) -> None:
    """What an import or a drawing does that an interrupt fell into."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        raise ImportError("cannot import name 'half'") from None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_that_ends_as_another_error_is_still_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    def job() -> None:
        with Journal(Folder(str(tmp_path)), SilentReporter()):
            library_interrupted_by(number)

    with signals_raised():
        assert _exit_code(job, debug=False) == code
    assert "committed shards are kept" in capsys.readouterr().err
    state = job_state(Folder(str(tmp_path)))
    assert (state and state.state) == "stopped"


def test_an_error_without_a_signal_is_a_failure(tmp_path: Path) -> None:
    def job() -> None:
        with Journal(Folder(str(tmp_path)), SilentReporter()):
            raise ImportError("cannot import name 'half'")

    with signals_raised():
        assert _exit_code(job, debug=False) == 1
    state = job_state(Folder(str(tmp_path)))
    assert (state and state.state) == "failed"


def test_bad_input_after_a_signal_is_still_bad_input() -> None:
    def job() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise InputError("no such task") from None

    with signals_raised():
        assert _exit_code(job, debug=False) == 2


def test_handlers_are_as_before_afterwards_and_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals_raised(), pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_raised():
            signal.raise_signal(signal.SIGINT)
            assert interrupted_by() is None
    finally:
        signal.signal(signal.SIGINT, before[0])
