"""A scorer that is several actors, the ranks of one model: it is called, and ends, like a single one.

All ranks are given every call in the same order, each does one at a time, and the first one's result counts. A rank
that dies or fails takes the others along: they end when their connection to it breaks, or here.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorAlreadyExistsError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from skilljobs.cluster.actor import RanksPartedError, ScorerActor
from skilljobs.cluster.pulse import ScorerHungError
from skilljobs.cluster.ray_errors import DEATHS, one_line
from skilljobs.plan.capacity import Replicas
from skilljobs.plan.work import ModelSetup


class RankedScorer:
    """The ranks of one scorer, on one machine. It has the methods of a `ScorerActor`, as an actor's handle does."""

    def __init__(self, name: str, setup: ModelSetup, replicas: Replicas) -> None:
        self._placed = placement_group([_share(replicas)] * replicas.ranks, strategy="STRICT_PACK", name=name)
        self._ranks = [self._start(name, setup, replicas, rank) for rank in range(replicas.ranks)]
        self._meeting_point = self._ranks[0].meeting_point.remote()
        self._followed: list[ray.ObjectRef] = []

    def __getattr__(self, method: str) -> "_Method":
        return _Method(lambda *arguments: self._call(method, arguments))

    @property
    def has_lost_rank(self) -> bool:
        """Whether a rank other than the first has died: that one may still wait for it."""
        done, self._followed = ray.wait(self._followed, num_returns=len(self._followed), timeout=0)
        return any(_is_dead(reference) for reference in done)

    def end(self) -> None:
        """End all ranks, and give back what they took."""
        for actor in self._ranks:
            ray.kill(actor)
        remove_placement_group(self._placed)

    def _start(self, name: str, setup: ModelSetup, replicas: Replicas, rank: int) -> ActorHandle:
        share = _share(replicas)
        return _start_actor(
            f"{name}.r{rank}",
            setup,
            rank,
            num_cpus=share["CPU"],
            num_gpus=share.get("GPU", 0),
            max_concurrency=1,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._placed, placement_group_bundle_index=rank),
        )

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        first, *others = self._ranks
        if method == "ping":  # answers once all ranks have
            return first.ping.remote(*(actor.ping.remote() for actor in others))
        if method == "load":
            arguments = (self._meeting_point,)
        self._followed += [actor.follow.remote(method, *arguments) for actor in others]
        return getattr(first, method).remote(*arguments)


def _is_dead(done: ray.ObjectRef) -> bool:
    try:
        ray.get(done)
    except RayError:
        return True
    return False


class _Method:
    """What stands for an actor's method."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


def _share(replicas: Replicas) -> dict[str, float]:
    """What one rank takes of what a replica does."""
    share: dict[str, float] = {"CPU": replicas.cpus // replicas.ranks}
    return share | ({"GPU": replicas.gpus // replicas.ranks} if replicas.gpus else {})


def start_scorer(name: str, setup: ModelSetup, replicas: Replicas) -> ActorHandle:
    """Ask Ray for one more scorer, which takes the CPUs and GPUs of a replica; the dashboard shows its name."""
    if replicas.ranks > 1:
        return RankedScorer(name, setup, replicas)
    return _start_actor(name, setup, num_cpus=replicas.cpus, num_gpus=replicas.gpus)


def _start_actor(name: str, *arguments: Any, **options: Any) -> ActorHandle:
    """An actor of that name; with a further number while an actor of that name is still about to end."""
    for number in count(1):
        shown = name if number == 1 else f"{name} ({number})"
        with suppress(ActorAlreadyExistsError):
            return ScorerActor.options(name=shown, **options).remote(*arguments)  # type: ignore[attr-defined]
    raise AssertionError("there is always another number")


def end_scorer(actor: ActorHandle) -> None:
    """End a scorer, whatever it is doing."""
    if isinstance(actor, RankedScorer):
        actor.end()
    else:
        ray.kill(actor)


def lost_rank(actor: ActorHandle) -> Exception | None:
    """The death of a scorer one of whose ranks has died, whatever the others still do; None if none has."""
    is_lost = isinstance(actor, RankedScorer) and actor.has_lost_rank
    return ScorerHungError("lost a rank (it died)") if is_lost else None


def death_in(error: Exception) -> Exception | None:
    """What in `error` is the death of a scorer, or that of a rank, after which the others are of no use."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, RanksPartedError):
        return ScorerHungError(f"lost a rank ({one_line(error)})")
    return error if isinstance(error, DEATHS) else None
