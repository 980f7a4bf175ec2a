"""What shards are charged with when actors die, machines go and code fails."""

import pytest

from skilljobs.cluster.ledger import MOST_ATTEMPTS, MOST_MACHINES_LOST, Ledger
from skilljobs.errors import JobFailed


def test_a_death_charges_the_first_and_suspects_the_rest() -> None:
    ledger = Ledger(range(2, 5))
    ledger.actor_died([0, 1], "killed")
    assert (list(ledger.suspects), ledger.suspected, list(ledger.waiting)) == ([0, 1], {0, 1}, [2, 3, 4])
    for _ in range(MOST_ATTEMPTS - 2):
        ledger.actor_died([0], "killed")
    with pytest.raises(JobFailed, match="shard 0 failed 3 times, the last time: killed"):
        ledger.actor_died([0, 1], "killed")


def test_a_machine_that_goes_charges_nobody_for_long() -> None:
    ledger = Ledger([])
    for _ in range(MOST_MACHINES_LOST - 1):
        ledger.machine_went([7, 8], "preempted")
        assert [ledger.waiting.popleft(), ledger.waiting.popleft()] == [7, 8]
    assert not ledger.suspected
    with pytest.raises(JobFailed, match=f"{MOST_MACHINES_LOST} machines went with shard 7 in hand"):
        ledger.machine_went([7, 8], "preempted")


def test_a_suspect_stays_one_when_its_machine_goes() -> None:
    ledger = Ledger([])
    ledger.failed(3, "odd")
    ledger.suspects.clear()
    ledger.machine_went([3, 4], "preempted")
    assert (list(ledger.suspects), list(ledger.waiting)) == ([3], [4])


def test_an_item_counts_once_whatever_becomes_of_it_afterwards() -> None:
    ledger = Ledger([5, 6])
    ledger.waiting.clear()
    assert (ledger.finished(5), ledger.finished(5), ledger.left) == (True, False, 1)
    for _ in range(MOST_ATTEMPTS):
        ledger.failed(5, "late")
        ledger.machine_went([5], "late")
    ledger.actor_died([5, 6], "late")
    assert (list(ledger.suspects), list(ledger.waiting), ledger.left) == ([6], [], 1)
    assert (ledger.finished(6), list(ledger.suspects), ledger.left) == (True, [], 0)


def test_an_item_that_another_actor_has_is_charged_but_not_put_in_line() -> None:
    ledger = Ledger([5])
    ledger.waiting.clear()
    ledger.actor_died([5], "hung", elsewhere={5})
    ledger.machine_went([5], "preempted", elsewhere={5})
    assert (list(ledger.suspects), list(ledger.waiting), ledger.suspected) == ([], [], {5})
    ledger.failed(5, "odd")
    assert list(ledger.suspects) == [5]
