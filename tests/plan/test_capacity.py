"""How many scorers fit, on machines that are only described."""

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.capacity import Cluster, Machine, Placement, Replicas, lay_out

GB = 10**9


def replica(gpus: int = 0, cpus: int = 1) -> Replicas:
    return Replicas(1, cpus, gpus)


def test_replicas_fit_machine_by_machine() -> None:
    cluster = Cluster((Machine(8, 3, GB), Machine(8, 3, GB)))
    assert lay_out(cluster, replica(gpus=2), None, 100).count == 2, "6 GPUs, but a replica is on one machine"
    assert lay_out(cluster, replica(gpus=1), None, 100).count == 6
    assert lay_out(cluster, replica(cpus=3), None, 100).count == 4
    assert lay_out(cluster, replica(gpus=1), None, 4).count == 4, "no more than shards"
    assert lay_out(cluster, replica(gpus=1), 2, 100).count == 2


def test_what_never_fits_is_refused() -> None:
    here = Cluster((Machine(2, 0, GB),))
    with pytest.raises(InputError, match=r"takes 1 CPUs and 1 GPUs .*; the largest machine has 2 and 0$"):
        lay_out(here, replica(gpus=1), None, 10)
    with pytest.raises(InputError, match=r"--replicas 3: there is room for 2"):
        lay_out(here, replica(), 3, 10)


def test_a_cluster_that_may_grow_is_asked_for_what_is_wanted() -> None:
    empty = Cluster((), grows=True)
    assert lay_out(empty, replica(gpus=8), 4, 100).count == 4
    with pytest.raises(InputError, match="with --replicas and --gpus-per-replica the job waits for"):
        lay_out(empty, replica(gpus=8), None, 100)


def test_a_replica_is_planned_for_the_smallest_machine_that_holds_it() -> None:
    cluster = Cluster((Machine(64, 0, 512 * GB), Machine(16, 4, 256 * GB), Machine(8, 0, 32 * GB)))
    assert cluster.machine_for(0).memory == 32 * GB
    assert cluster.machine_for(2).memory == 256 * GB
    assert cluster.gpus_of_replica(None) == 1
    assert Cluster((Machine(8, 0, GB),)).gpus_of_replica(None) == 0


def test_ranks_take_one_gpu_each_or_none() -> None:
    with_gpus, without = Cluster((Machine(8, 4, 0),)), Cluster((Machine(8, 0, 0),))
    assert [with_gpus.gpus_of_replica(wanted, 2) for wanted in (None, 0, 2)] == [2, 0, 2]
    assert without.gpus_of_replica(None, 2) == 0
    with pytest.raises(InputError, match="--gpus-per-replica 3: each of the 2 ranks"):
        Placement(gpus_per_replica=3).check_ranks(2)
    Placement(gpus_per_replica=3).check_ranks(1)


def test_all_ranks_of_a_replica_are_on_one_machine() -> None:
    one = Replicas(1, 2, 0, ranks=2)
    with pytest.raises(InputError, match="a replica takes 2 CPUs"):
        lay_out(Cluster((Machine(1, 0, 0), Machine(1, 0, 0))), one, None, 4)
    laid_out = lay_out(Cluster((Machine(5, 0, 0),)), one, None, 4)
    assert (laid_out.count, laid_out.ranks) == (2, 2)
