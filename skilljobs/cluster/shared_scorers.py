"""The scorers of a job, and scorers that stay loaded for the next one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ray.actor import ActorHandle

from skilljobs.cluster.ranked_scorer import start_scorer
from skilljobs.cluster.scorer_group import ScorerGroup
from skilljobs.plan.capacity import Replicas
from skilljobs.plan.work import ModelSetup


@dataclass(frozen=True)
class _Kind:
    """What two groups of scorers must have in common for one to stand in for the other."""

    setup: ModelSetup
    replicas: Replicas

    def can_use(self, waiting: "_Kind") -> bool:
        """Whether scorers of the kind `waiting` can do the work of this kind.

        As many must have been asked for. A job of few shards starts fewer: the next one adds to them. One that finds
        more than it has shards for leaves some without work, which costs less than loading them again.
        """
        mine, theirs = self.replicas, waiting.replicas
        alike = replace(self, replicas=replace(mine, count=theirs.count, wanted=theirs.wanted)) == waiting
        return alike and (mine.wanted == theirs.wanted or mine.count == theirs.count)


class _SharedScorers:
    """At most one group of scorers, which waits for the next job: a second one would find no CPUs."""

    def __init__(self) -> None:
        self._waiting: tuple[_Kind, ScorerGroup] | None = None

    def take(self, kind: _Kind, must_agree: Mapping[str, str]) -> tuple[_Kind, ScorerGroup] | None:
        """The waiting group, with its own kind, if it can stand in for one of `kind`; otherwise it is ended."""
        if self._waiting is None:
            return None
        (waiting_kind, group), self._waiting = self._waiting, None
        fits = any(kind.can_use(waiting) for waiting in (waiting_kind, _as_loaded(waiting_kind, group)))
        if fits and group.agrees_with(must_agree):
            for _ in range(kind.replicas.count - len(group.members)):
                group.add()
            as_many = replace(waiting_kind.replicas, count=len(group.members))
            return replace(waiting_kind, replicas=as_many), group
        group.close()
        return None

    def keep(self, kind: _Kind, group: ScorerGroup) -> None:
        """Let a group wait for the next job."""
        self.release()
        self._waiting = kind, group

    def release(self) -> None:
        """End the waiting group."""
        if self._waiting is not None:
            self._waiting[1].close()
            self._waiting = None


def _as_loaded(kind: _Kind, group: ScorerGroup) -> _Kind:
    """The kind of a group with the attention that its model was loaded with, where none was asked for."""
    attention = kind.setup.attention or (group.model.attention if group.model else None)
    return replace(kind, setup=replace(kind.setup, attention=attention))


_shared: _SharedScorers | None = None
"""Set while scorers are shared."""


@contextmanager
def scorers_shared() -> Iterator[Callable[[], None]]:
    """Within the block, the scorers of a job stay for the next one. Yields a function that ends those that wait.

    In a block within another one, they stay until the outer one ends.
    """
    global _shared
    if _shared is not None:  # those that wait already hold the processors
        yield _shared.release
        return
    _shared = _SharedScorers()
    try:
        yield _shared.release
    finally:
        _shared.release()
        _shared = None


@contextmanager
def scorers_of_job(
    setup: ModelSetup,
    replicas: Replicas,
    on_note: Callable[[str], None],
    run_id: str,
    must_agree: Mapping[str, str] | None = None,
) -> Iterator[ScorerGroup]:
    """The scorers of one job: those that an earlier job left, if they fit, or new ones, named by its run and a number.

    They are ended with the block, or kept if scorers are shared and the block ended well.
    """
    kind = _Kind(replace(setup, landmarks=None), replicas)
    taken = _shared.take(kind, must_agree or {}) if _shared else None
    if taken is None:

        def start(name: str) -> ActorHandle:
            return start_scorer(f"{run_id}/{name}", setup, replicas)

        group = ScorerGroup(start, replicas.count, on_note, must_agree)
    else:
        kind, group = taken
        group.begin_job(on_note)
    try:
        yield group
    except BaseException:
        group.close()
        raise
    if _shared:
        _shared.keep(kind, group)
    else:
        group.close()
