"""How long a shard may take, and what is said of those that take longer."""

from skilljobs.cluster.deadlines import FIRST_SECONDS, LEAST_SECONDS, TIMES_SLOWEST, Deadline, Overdue


def test_a_deadline_is_many_times_the_slowest_so_far_and_long_before_anything_was_measured() -> None:
    deadline = Deadline()
    assert deadline.seconds == FIRST_SECONDS
    deadline.took(0.1)
    assert deadline.seconds == LEAST_SECONDS
    deadline.took(50.0)
    deadline.took(7.0)
    assert deadline.seconds == 50.0 * TIMES_SLOWEST >= 500.0


def test_a_fixed_deadline_stays() -> None:
    deadline = Deadline(5.0)
    deadline.took(100.0)
    assert deadline.seconds == 5.0


def test_what_is_overdue_is_said_in_words() -> None:
    overdue = Overdue()
    assert str(overdue) == ""
    overdue[3] = "scorer-2"
    assert str(overdue) == "1 shard is overdue, given to scorer-2 too"
    overdue[4] = "scorer-0"
    assert str(overdue) == "2 shards are overdue, given to scorer-0, scorer-2 too"
