"""Waiting for results of Ray, so that SIGTERM stays what it is."""

from collections.abc import Sequence

import ray

from skilljobs.errors import Terminated
from skilljobs.progress.interrupts import was_terminated


def wait(references: Sequence[ray.ObjectRef], timeout: float, count: int = 1) -> list[ray.ObjectRef]:
    """Those of `references` that are ready: once `count` are, or after `timeout` seconds.

    Raises:
        Terminated: SIGTERM came. Ray itself makes a plain KeyboardInterrupt of any that comes while it waits.
    """
    try:
        ready, _ = ray.wait(list(references), num_returns=count, timeout=timeout)
    except KeyboardInterrupt as interrupt:
        if was_terminated():
            raise Terminated from interrupt
        raise
    return list(ready)
