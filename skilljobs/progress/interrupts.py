"""SIGTERM as an exception, so that a job that is asked to stop finishes what it has in hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from skilljobs.errors import Terminated

_terminated = False


def was_terminated() -> bool:
    """Whether SIGTERM came since `sigterm_raised` was entered."""
    return _terminated


def raise_on_sigterm() -> None:
    """Turn SIGTERM into `Terminated`. To be called again after Ray has started, since Ray installs its own handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def catch_sigterm_again() -> None:
    """Have the system call Python's handler of SIGTERM. Ray's end takes it away behind Python's back."""
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


@contextmanager
def sigterm_raised() -> Iterator[None]:
    """Within the block SIGTERM is raised as `Terminated` in the main thread; afterwards it is handled as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _terminated
    before, _terminated = signal.getsignal(signal.SIGTERM), False
    raise_on_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    global _terminated
    _terminated = True
    raise Terminated
