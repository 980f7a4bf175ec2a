"""How long a piece of work may take before it is looked after. Imports no Ray."""

from bisect import insort

FIRST_SECONDS = 1800.0
"""Before anything was measured."""
TIMES_SLOWEST = 10
LEAST_SECONDS = 60.0


TIMES_USUAL = 2.0
"""A straggler has taken this many times the median: whoever begins now is likely to end first."""
LEAST_STRAGGLER_SECONDS = 15.0
"""Whoever loses is waited for, too: there is nothing to win with short pieces."""
FEWEST_MEASURED = 3
"""Pieces of work before the median says what is usual."""


class Deadline:
    """The seconds that a piece of work may take: `fixed`, or many times those that the slowest one took so far."""

    def __init__(self, fixed: float | None = None, has_stragglers: bool = True) -> None:
        """`has_stragglers`: whether a piece of work that takes longer than usual is worth beginning twice."""
        self._fixed = fixed
        self._has_stragglers = has_stragglers
        self._taken: list[float] = []

    def took(self, seconds: float) -> None:
        """Learn how long a piece of work took."""
        insort(self._taken, seconds)

    @property
    def seconds(self) -> float:
        """The seconds that the next piece of work may take."""
        if self._fixed is not None:
            return self._fixed
        return max(LEAST_SECONDS, TIMES_SLOWEST * self._taken[-1]) if self._taken else FIRST_SECONDS

    @property
    def straggler_seconds(self) -> float:
        """The seconds after which a piece of work is worth beginning twice, if there is nothing else to do."""
        if self._fixed is not None or not self._has_stragglers or len(self._taken) < FEWEST_MEASURED:
            return self.seconds
        return max(LEAST_STRAGGLER_SECONDS, TIMES_USUAL * self._taken[len(self._taken) // 2])


class Overdue(dict[int, str]):
    """The shards that are overdue and not done, each with the name of the scorer that was given it too."""

    def __str__(self) -> str:
        if not self:
            return ""
        shards = "1 shard is" if len(self) == 1 else f"{len(self)} shards are"
        return f"{shards} overdue, given to {', '.join(sorted(set(self.values())))} too"
