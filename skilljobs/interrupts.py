"""SIGTERM as an exception, so that a job that is told to stop puts its things down first."""

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was sent SIGTERM."""


class Detached(KeyboardInterrupt):
    """The user no longer waits for a job, which goes on elsewhere. The message says how to follow and to stop it."""


def raise_on_sigterm() -> None:
    """Turn SIGTERM into `Terminated`. To be called after Ray has started: it installs a handler of its own."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def stops_on_sigterm() -> bool:
    """Whether SIGTERM is raised as an exception in the main thread."""
    return signal.getsignal(signal.SIGTERM) is _terminate


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
