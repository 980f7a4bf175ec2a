"""Submitting a job to a cluster and following it from elsewhere."""

from collections.abc import Mapping

from skilljobs.cluster.dashboard_jobs import ClusterJobs, command_line
from skilljobs.errors import Detached, InputError, JobFailed
from skilljobs.progress.reporter import Reporter
from skilljobs.uris import child_uri


def run_on_cluster(
    command: str, address: str, out: str, run_id: str, options: Mapping[str, object], wait: bool, reporter: Reporter
) -> str:
    """Start `command` on the cluster whose dashboard is at `address`, and by default wait for its end.

    Args:
        out: the folder or URI of runs, as the cluster sees it.
        options: further options of the command, by flag.

    Returns the URI of the run.

    Raises:
        InputError: the cluster cannot be reached, or the job refused its input.
        JobFailed: the job failed, or can no longer be followed.
        Detached: the user stopped waiting.
    """
    uri = child_uri(out, run_id)
    jobs = ClusterJobs(address)
    submitted = jobs.submit(command_line(command, {"--out": out, "--run-id": run_id, **options}), run_id, uri)
    reporter.note(f"job {submitted.id} at {jobs.address}, {submitted.status.lower()}")
    if not wait:
        return uri
    how = (
        f"`skilljobs logs -f {run_id} --address {jobs.address}` follows it,"
        f" `skilljobs stop {run_id} --address {jobs.address}` stops it"
    )
    try:
        for text in jobs.follow(submitted.id):
            reporter.note(text.rstrip("\n"))
    except KeyboardInterrupt as interrupt:
        raise Detached(f"the job continues: {how}") from interrupt
    except InputError as error:
        raise JobFailed(f"{error}; the job {submitted.id} may still be running: {how}") from error
    jobs.conclude(submitted.id)
    return uri
