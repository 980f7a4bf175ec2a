"""A cluster of several machines on this one, with a dashboard: each machine is a raylet of its own."""

import time
from collections.abc import Iterator

import pytest

from tests.integration.machines import Machines


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A head without CPUs, to which tests add machines of one CPU."""
    made = Machines()
    deadline = time.monotonic() + 60
    while not made.answers():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield made
    made.close()
