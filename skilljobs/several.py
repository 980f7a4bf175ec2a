"""Several jobs from Python, and what they share."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from skilljobs.api import OUT, Run
from skilljobs.cluster.authentication import cluster_address
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Placement
from skilljobs.progress.notebook import suitable_reporter
from skilljobs.progress.reporter import Reporter
from skilljobs.submit_options import SubmitOptions

if TYPE_CHECKING:
    from skilljobs.pipeline.several_jobs import CheckedJob

ONE_PROCESS = "jobs that share loaded scorers are driven by one process"


def submit_many(
    jobs: Sequence[Mapping[str, Any]],
    *,
    out: str | os.PathLike[str] = OUT,
    replicas: int | None = None,
    gpus_per_replica: int | None = None,
    shard_timeout: float | None = None,
    address: str | None = None,
    report: bool = True,
    verify: bool = False,
    reporter: Reporter | None = None,
    debug: bool = False,
    on_done: Callable[[Run], None] = lambda run: None,
    **common: Unpack[SubmitOptions],
) -> list[Run]:
    """Run several jobs one after another, or resume those that are not finished, and keep the model loaded meanwhile.

    All jobs are checked before one starts, and one that fails does not stop the others. Jobs of one model follow each
    other, so that it is loaded once.

    Args:
        jobs: the options of each job, by name, `run_id` among them; they count more than those in `common`.
        out, replicas, gpus_per_replica, shard_timeout, report, verify, reporter, debug: as for `submit`.
        address: a Ray cluster that this process drives itself (`HEAD:6379` or `auto`); by default RAY_ADDRESS, or a Ray
            on this machine.
        on_done: gets each run as soon as it is finished.
        common: options of all jobs. An option that only some of the tasks have is given to their jobs alone.

    Returns:
        the runs, in the order of `jobs`.

    Raises:
        InputError: names the job that cannot be done; nothing was started.
        SomeJobsFailed: some jobs could not be finished; the others are, and the same call resumes.
    """
    from skilljobs.pipeline.several_jobs import run_several
    from skilljobs.plan.call_arguments import check_flags

    reporter = reporter or suitable_reporter()
    check_flags({"report": report, "verify": verify, "debug": debug})
    address = driven_address(address, ONE_PROCESS)
    placement = Placement(address, replicas, gpus_per_replica, debug, shard_timeout)
    checked = check_many(jobs, common, out, placement, reporter)
    uris = run_several(checked, placement, report, verify, reporter, lambda uri: on_done(Run(uri)))
    return [Run(uri) for uri in uris]


@contextmanager
def session(address: str | None = None, debug: bool = False) -> Iterator[None]:
    """Keep Ray and the loaded model over several jobs of this process.

    Within the block, a job uses the scorers that the job before it left, if it reads the same model in the same way.
    Their number and results are the same as without a session.

    Args:
        address: a Ray cluster that this process drives itself (`HEAD:6379` or `auto`); by default RAY_ADDRESS, or a Ray
            on this machine.
        debug: whether to show the workers' logs.

    Raises:
        InputError: there is no cluster at the address, or it is that of a dashboard, which runs jobs elsewhere.
    """
    address = driven_address(address, "a session drives the cluster itself")
    from skilljobs.cluster.session import ray_session
    from skilljobs.cluster.shared_scorers import scorers_shared

    with ray_session(address, debug), scorers_shared():
        yield


def check_many(
    jobs: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
    out: str | os.PathLike[str],
    placement: Placement,
    reporter: Reporter,
) -> "list[CheckedJob]":
    """Check everything that can be refused of several jobs, given as for `submit_many`; nothing is written.

    Raises:
        InputError: names the job that cannot be done.
    """
    from skilljobs.pipeline.several_jobs import ask_several, check_several
    from skilljobs.plan.call_arguments import checked_out, refuse_unknown
    from skilljobs.plan.several_specs import options_of_each

    options = options_of_each(jobs, common)
    for one in options:
        refuse_unknown(one.values, inspect.signature(submit_many).parameters.keys() - {"common"} | {"run_id"})
        if one.note is not None:
            reporter.note(one.note)
    return check_several(ask_several(options, checked_out(out)), placement)


def driven_address(address: str | None, why: str) -> str | None:
    """The address of a Ray cluster that this process drives itself; None for a Ray on this machine.

    Raises:
        InputError: it is that of a dashboard, which runs jobs elsewhere; says `why` that will not do.
    """
    from skilljobs.cluster.dashboard_jobs import is_dashboard

    address = cluster_address(address)
    if is_dashboard(address):
        raise InputError(f"--address {address}: {why}; use HEAD:6379, or auto on a machine")
    return address
