"""The scorer actors of a job: starting them, admitting those that loaded, replacing those that died.

Rules, each from a failure that was seen: Ray restarts no actor, a fresh one takes the place of each that died; there is
a cap on all deaths; all actors are asked for at once. An actor whose machine would give other numbers is refused. A
machine that goes takes its actors along, which is nobody's fault: the actors that take their place wait for machines,
and that is an autoscaler's signal.
"""

import time
from collections.abc import Callable, Mapping

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayTaskError

from skilljobs.cluster.ledger import MOST_ATTEMPTS
from skilljobs.cluster.member import Member
from skilljobs.cluster.pulse import Pulse, ScorerHungError
from skilljobs.cluster.ranked_scorer import RankedScorer, death_in, end_scorer, lost_rank
from skilljobs.cluster.ray_errors import DEATHS, one_line, own_error
from skilljobs.cluster.session import refuse_dead_ray
from skilljobs.cluster.waiting import wait
from skilljobs.errors import JobFailed
from skilljobs.plan.work import LoadedModel, UnfitMachine

MOST_DEATHS_PER_ACTOR = 4
PATIENCE_SECONDS = 60.0
"""How long to wait for a first scorer between two notes."""
LOOK_SECONDS = 2.0
"""Time between two looks for actors that hang."""
LOADING_SECONDS = 1800.0
"""How long an actor may load before it must answer."""


class ScorerGroup:
    """The actors that `start(name)` makes; the `load` method of each is called once.

    All actors must agree with `must_agree` and, beyond that, with the first one (see `LoadedModel.must_agree`). An
    actor that differs, or whose machine is unfit, is refused: it gets nothing to do but stays alive, since another
    would only land on the same machine.
    """

    def __init__(
        self,
        start: Callable[[str], ActorHandle],
        size: int,
        on_note: Callable[[str], None],
        must_agree: Mapping[str, str] | None = None,
    ) -> None:
        self._start = start
        self._agreed = dict(must_agree or {})
        self._refused: list[Member] = []
        self._started = 0
        self._most_deaths = MOST_ATTEMPTS + MOST_DEATHS_PER_ACTOR * size
        self.begin_job(on_note)
        self.model: LoadedModel | None = None
        """What the last actor that loaded said about the model."""
        self.members: list[Member] = []
        for _ in range(size):
            self.add()

    def begin_job(self, on_note: Callable[[str], None]) -> None:
        """Work for another job: deaths are counted anew, and its reporter gets the notes."""
        self._note = on_note
        self._deaths = 0

    def agrees_with(self, must_agree: Mapping[str, str]) -> bool:
        """Whether all actors agree with `must_agree` as well."""
        return all(self._agreed.get(name, value) == value for name, value in must_agree.items())

    def add(self) -> Member:
        """Start one more actor."""
        name = f"scorer-{self._started}"
        self._started += 1
        actor = self._start(name)
        member = Member(name, actor, actor.load.remote(), Pulse(actor))
        member.pulse.ask()
        self.members.append(member)
        return member

    def close(self) -> None:
        """End all actors."""
        for member in (*self.members, *self._refused):
            end_scorer(member.actor)
        self.members, self._refused = [], []

    @property
    def refused_count(self) -> int:
        """Refused actors on machines that are still there."""
        return sum(is_alive(member.node) for member in self._refused)

    def first_loaded(self) -> Member:
        """Wait for any actor to have loaded.

        Raises:
            JobFailed: actors keep dying while they load, or all are refused.
            InputError: the actor itself refused its input.
        """
        noted = time.monotonic()
        while True:
            for member in self.members:
                if member.loaded:
                    return member
            ready = wait([member.loading for member in self.members], LOOK_SECONDS)
            if ready:
                self.take_loaded(next(member for member in self.members if member.loading == ready[0]))
                continue
            self.replace_hung_loaders()
            if time.monotonic() - noted > PATIENCE_SECONDS:
                noted = time.monotonic()
                self._note("no scorer is ready yet: the model is still loading, or no machine has room for a scorer")

    def replace_hung_loaders(self) -> None:
        """Replace the actors that have been loading for very long and do not answer; errors as `first_loaded`."""
        if any(not member.loaded for member in self.members):
            refuse_dead_ray()
        for member in [member for member in self.members if not member.loaded]:
            if death := lost_rank(member.actor):
                self.replace(member, death, blameless=False)
                continue
            is_lost, began = member.pulse.is_lost(), member.pulse.began
            if is_lost and began is not None and time.monotonic() - began > LOADING_SECONDS:
                seconds = time.monotonic() - began
                self.replace(member, ScorerHungError(f"has not answered for {seconds:.0f} s of loading"), False)

    def take_loaded(self, member: Member) -> None:
        """Admit, refuse or replace an actor whose loading has ended; errors as `first_loaded`."""
        try:
            answer = ray.get(member.loading)
        except (*DEATHS, RayTaskError) as error:
            if death := death_in(error):
                self.replace(member, death, blameless=False)
                return
            raise own_error(error) from error
        member.node = answer.node
        reason = answer.reason if isinstance(answer, UnfitMachine) else self._disagreement(answer)
        if reason is not None:
            self._refuse(member, f"{member.name} on {answer.host} is refused: {reason}")
            return
        self._agreed |= {name: value for name, value in answer.must_agree.items() if name not in self._agreed}
        self.model = answer
        member.admit()

    def _disagreement(self, model: LoadedModel) -> str | None:
        """How an actor differs from what was agreed, in words; None if it does not."""
        different = [
            f"{name} {value} there, {self._agreed[name]} here"
            for name, value in model.must_agree.items()
            if self._agreed.get(name, value) != value
        ]
        return ", ".join(different) or None

    def _refuse(self, member: Member, reason: str) -> None:
        self._note(reason)
        self.members.remove(member)
        self._refused.append(member)
        if not self.members:
            raise JobFailed(f"no scorer is left: {reason}")

    def went_with_machine(self, member: Member, error: Exception) -> bool:
        """Whether an actor was lost because its machine went or cannot be reached."""
        return member.loaded and (isinstance(error, ActorUnavailableError) or not is_alive(member.node))

    def replace(self, member: Member, error: Exception, blameless: bool) -> None:
        """Start another actor in place of a dead, unreachable or hung one; a `blameless` loss is not counted.

        Raises:
            JobFailed: too many have died.
        """
        if isinstance(error, ActorUnavailableError | ScorerHungError) or isinstance(member.actor, RankedScorer):
            end_scorer(member.actor)
        self._deaths += not blameless
        if self._deaths > self._most_deaths or (self.model is None and self._deaths == MOST_ATTEMPTS):
            raise JobFailed(f"{self._deaths} scorers died, the last one: {one_line(error)}")
        self.members.remove(member)
        replacement = self.add()
        hung = str(error) if isinstance(error, ScorerHungError) else None
        what = hung or ("went with its machine" if blameless else f"died ({one_line(error)})")
        self._note(f"{member.name} {what}; {replacement.name} takes its place")


def is_alive(node: str | None) -> bool:
    """Whether a machine is still part of the cluster; an unknown one counts as alive."""
    return node is None or any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())
