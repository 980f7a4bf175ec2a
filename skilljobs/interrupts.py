"""SIGTERM as an exception, so that a job that is told to stop puts its things down first."""

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was sent SIGTERM."""


def raise_on_sigterm() -> None:
    """Turn SIGTERM into `Terminated`. To be called after Ray has started: it installs a handler of its own."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
