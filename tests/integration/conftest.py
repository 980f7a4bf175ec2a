"""A cluster of several machines on this one, with a dashboard: each machine is a raylet of its own."""

from collections.abc import Iterator

import pytest

from tests.integration.machines import Machines, wait_for


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A head without CPUs, to which tests add machines of one CPU."""
    made = Machines()
    wait_for(made.answers, seconds=60)
    yield made
    made.close()
