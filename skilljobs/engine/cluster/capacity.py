"""How many scorers a cluster holds. Imports no Ray."""

from dataclasses import dataclass

from skilljobs.errors import InputError
from skilljobs.machine import available_cpus, total_memory


@dataclass(frozen=True)
class Machine:
    """What a machine has for scorers; memory in bytes."""

    cpus: int
    gpus: int
    memory: int
    gpu_memory: int = 0
    """Of its smallest GPU; 0: not known."""


@dataclass(frozen=True)
class Placement:
    """Where a job runs and how many scorers it wants. Of this only the GPUs of a replica can change the numbers."""

    address: str | None = None
    """Of a Ray cluster that this process is to drive; None: one that is started here."""
    replicas: int | None = None
    """None: as many as the cluster holds."""
    gpus_per_replica: int | None = None
    """None: one where there are GPUs."""
    debug: bool = False


@dataclass(frozen=True)
class Cluster:
    """What Ray has to give."""

    machines: tuple[Machine, ...]
    """Those that have CPUs or GPUs for scorers."""
    grows: bool = False
    """Whether machines may come and go: not on a Ray that was started here."""
    dashboard: str | None = None

    @property
    def cpus(self) -> int:
        return sum(machine.cpus for machine in self.machines)

    @property
    def gpus(self) -> int:
        return sum(machine.gpus for machine in self.machines)

    def gpus_of_replica(self, wanted: int | None) -> int:
        """The GPUs of a replica: as many as wanted, or one where there are any."""
        return min(1, self.gpus) if wanted is None else wanted

    def machine_for(self, gpus: int) -> Machine:
        """The machine that a replica of `gpus` GPUs is planned for: of those that hold it, the one of least memory."""
        fitting = [machine for machine in self.machines if machine.gpus >= gpus and machine.cpus]
        return min(fitting, key=lambda machine: (machine.memory, machine.cpus), default=Machine(1, gpus, 0))


WAIT_ADVICE = "with --replicas and --gpus-per-replica it waits for machines that an autoscaler brings"


@dataclass(frozen=True)
class Replicas:
    """How many scorers are asked for at first, and what each one holds."""

    count: int
    cpus: int
    gpus: int

    def room_in(self, cluster: Cluster) -> int:
        """How many there is room for now."""
        return sum(
            min(machine.cpus // self.cpus, machine.gpus // self.gpus if self.gpus else machine.cpus)
            for machine in cluster.machines
        )


def lay_out(cluster: Cluster, one: Replicas, wanted: int | None, shards: int) -> Replicas:
    """As many replicas, each like `one`, as the cluster holds, the shards need, or `wanted` says.

    What is wanted of a cluster that may grow is asked for even where it does not fit yet: scorers that wait are what
    tells an autoscaler to bring machines.

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
    return Replicas(max(1, min(wanted or room, shards)), one.cpus, one.gpus)


def this_machine(gpus: int = 0, gpu_memory: int = 0) -> Machine:
    """This machine; its GPUs are said, since looking at them takes torch."""
    return Machine(available_cpus(), gpus, total_memory(), gpu_memory)
