"""SIGTERM as an exception, so that a job that is asked to stop finishes what it has in hand; which signal has come."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from skilljobs.errors import Terminated

_came: int | None = None


def interrupted_by() -> int | None:
    """The number of the signal, SIGINT or SIGTERM, that came since `signals_raised` was entered.

    An interrupt in the middle of an import or of a drawing may end as an error of another kind; this tells it apart.
    """
    return _came


def was_terminated() -> bool:
    """Whether that signal was SIGTERM."""
    return _came == signal.SIGTERM


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
def signals_raised() -> Iterator[None]:
    """Within the block SIGTERM is raised as `Terminated` in the main thread, and it is noted which signal came.

    Afterwards both are handled as before. A SIGINT that is ignored, as under `nohup`, or that others handle, is left
    alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _came
    before, on_interrupt, _came = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), None
    raise_on_sigterm()
    if on_interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        if on_interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, on_interrupt)


def _terminate(number: int, frame: FrameType | None) -> None:
    global _came
    _came = number
    raise Terminated


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _came
    _came = number
    raise KeyboardInterrupt
