"""What machines have, where a job runs, and how many scorers fit."""

from dataclasses import dataclass, replace

from skilljobs.errors import InputError
from skilljobs.machine import available_cpus, total_memory
from skilljobs.store.record import Numerics


@dataclass(frozen=True)
class Machine:
    """What a machine has for scorers; memory in bytes."""

    cpus: int
    gpus: int
    memory: int
    gpu_memory: int = 0
    """Memory of its smallest GPU; 0 if it is not known."""


@dataclass(frozen=True)
class Placement:
    """Where a job runs and how many scorers it wants. Only the GPUs of a replica can change the numbers."""

    address: str | None = None
    """The Ray cluster that this process drives; None for a Ray that is started here."""
    replicas: int | None = None
    """How many scorers; None for as many as the cluster holds."""
    gpus_per_replica: int | None = None
    """None means one if there are GPUs."""
    debug: bool = False
    shard_timeout: float | None = None
    """Seconds after which a shard is given to another scorer too; None for many times what shards take."""

    def __post_init__(self) -> None:
        """Refuse values of another type, or out of range.

        Raises:
            InputError: names the option.
        """
        for flag, count, least in (("--replicas", self.replicas, 1), ("--gpus-per-replica", self.gpus_per_replica, 0)):
            if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
                raise InputError(f"{flag} is {count!r}; it takes a whole number")
            if count is not None and count < least:
                raise InputError(f"{flag} is {count}; it must be at least {least}")
        timeout = self.shard_timeout
        if timeout is not None and (not isinstance(timeout, int | float) or isinstance(timeout, bool)):
            raise InputError(f"--shard-timeout is {timeout!r}; it takes a number")
        if timeout is not None and not timeout > 0:
            raise InputError(f"--shard-timeout is {timeout}; it must be above 0")

    def check_ranks(self, ranks: int) -> None:
        """Refuse GPUs that several ranks would not have one each of.

        Raises:
            InputError: gives how many they take.
        """
        if ranks > 1 and self.gpus_per_replica not in (None, 0, ranks):
            raise InputError(
                f"--gpus-per-replica {self.gpus_per_replica}: each of the {ranks} ranks of --tensor-parallel takes one"
                " GPU, or none"
            )


@dataclass(frozen=True)
class Cluster:
    """The machines that Ray has."""

    machines: tuple[Machine, ...]
    """The machines that have CPUs or GPUs for scorers."""
    grows: bool = False
    """Whether machines may come and go, which they do not on a Ray that was started here."""
    dashboard: str | None = None

    @property
    def cpus(self) -> int:
        return sum(machine.cpus for machine in self.machines)

    @property
    def gpus(self) -> int:
        return sum(machine.gpus for machine in self.machines)

    def gpus_of_replica(self, wanted: int | None, ranks: int = 1) -> int:
        """The GPUs of a replica: as many as wanted, or by default one for each rank if there are any."""
        return ranks * min(1, self.gpus) if wanted is None else wanted

    def machine_for(self, gpus: int) -> Machine:
        """The machine that a replica of `gpus` GPUs is planned for: the one with the least memory that can hold it."""
        fitting = [machine for machine in self.machines if machine.gpus >= gpus and machine.cpus]
        return min(fitting, key=lambda machine: (machine.memory, machine.cpus), default=Machine(1, gpus, 0))


WAIT_ADVICE = "with --replicas and --gpus-per-replica the job waits for machines that an autoscaler adds"


@dataclass(frozen=True)
class Replicas:
    """How many scorers are asked for at first, and what each one takes."""

    count: int
    cpus: int
    gpus: int
    ranks: int = 1
    """How many processes a replica is, which have its CPUs and GPUs in equal parts on one machine."""
    wanted: int | None = None
    """How many were asked for; None for as many as fit. There are fewer if there are fewer shards."""

    @classmethod
    def one_with(cls, numerics: Numerics, ranks: int = 1) -> "Replicas":
        """A single replica of `ranks` processes that computes with `numerics`."""
        return cls(1, ranks * (1 if numerics.gpus else numerics.threads), numerics.gpus, ranks)

    def room_in(self, cluster: Cluster) -> int:
        """How many replicas of this kind fit now."""
        return sum(
            min(machine.cpus // self.cpus, machine.gpus // self.gpus if self.gpus else machine.cpus)
            for machine in cluster.machines
        )


def lay_out(cluster: Cluster, one: Replicas, wanted: int | None, shards: int) -> Replicas:
    """As many replicas, each like `one`, as fit, as there are shards for, or as are wanted.

    On a cluster that may grow, what is wanted is requested even if it does not fit yet: waiting scorers are an
    autoscaler's signal to add machines.

    Raises:
        InputError: not one replica, or not as many as wanted, can be placed.
    """
    room = one.room_in(cluster)
    if wanted is None or not cluster.grows:
        if room == 0:
            cpus, gpus = (
                max((getattr(kind, name) for kind in cluster.machines), default=0) for name in ("cpus", "gpus")
            )
            advice = f" ({WAIT_ADVICE})" if cluster.grows else ""
            raise InputError(
                f"a replica takes {one.cpus} CPUs and {one.gpus} GPUs (--gpus-per-replica);"
                f" the largest machine has {cpus} and {gpus}{advice}"
            )
        if wanted is not None and wanted > room:
            raise InputError(
                f"--replicas {wanted}: there is room for {room}"
                f" ({cluster.cpus} CPUs and {cluster.gpus} GPUs; a replica takes {one.cpus} and {one.gpus})"
            )
    return replace(one, count=max(1, min(wanted or room, shards)), wanted=wanted)


def this_machine(gpus: int = 0, gpu_memory: int = 0) -> Machine:
    """This machine. Its GPUs are passed in, since looking for them imports torch."""
    return Machine(available_cpus(), gpus, total_memory(), gpu_memory)
