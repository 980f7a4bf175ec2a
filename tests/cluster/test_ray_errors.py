"""What is said of actors that died, above all for want of memory."""

from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, OutOfMemoryError

from skilljobs.cluster.ray_errors import DEATHS, one_line

KILLED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker"
    " unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was"
    " killed by the OOM killer due to high memory usage, (2) ray stop --force is called, or (3) the worker is crashed"
    " unexpectedly due to SIGSEGV or another unexpected error."
)


def died(detail: str) -> ActorDiedError:
    return ActorDiedError(ActorDiedErrorContext(error_message=detail, actor_id=bytes(16), class_name="ScorerActor"))


def test_ray_that_kills_for_want_of_memory_means_a_death_and_says_memory() -> None:
    error = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.\nTop 10 memory users: ...")
    assert isinstance(error, DEATHS)
    said = one_line(error)
    assert said.startswith("its machine ran out of memory: use fewer scorers (--replicas), or smaller batches")
    assert said.endswith("killed due to the node running low on memory.")


def test_a_killed_process_may_have_been_out_of_memory() -> None:
    said = one_line(died(KILLED))
    assert "The actor died unexpectedly" in said
    assert "If its machine ran out of memory, use fewer scorers (--replicas)" in said


def test_other_deaths_do_not_speak_of_memory() -> None:
    assert "memory" not in one_line(died("The actor is dead because it was killed by `ray.kill`."))
