"""How long a piece of work may take before it is looked after. Imports no Ray."""

FIRST_SECONDS = 1800.0
"""Before anything was measured."""
TIMES_SLOWEST = 10
LEAST_SECONDS = 60.0


class Deadline:
    """The seconds that a piece of work may take: `fixed`, or many times those that the slowest one took so far."""

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._slowest: float | None = None

    def took(self, seconds: float) -> None:
        """Learn how long a piece of work took."""
        self._slowest = max(seconds, self._slowest or 0.0)

    @property
    def seconds(self) -> float:
        """The seconds that the next piece of work may take."""
        if self._fixed is not None:
            return self._fixed
        return FIRST_SECONDS if self._slowest is None else max(LEAST_SECONDS, TIMES_SLOWEST * self._slowest)


class Overdue(dict[int, str]):
    """The shards that are overdue and not done, each with the name of the scorer that was given it too."""

    def __str__(self) -> str:
        if not self:
            return ""
        shards = "1 shard is" if len(self) == 1 else f"{len(self)} shards are"
        return f"{shards} overdue, given to {', '.join(sorted(set(self.values())))} too"
