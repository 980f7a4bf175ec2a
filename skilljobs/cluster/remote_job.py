"""Submitting a job to a cluster and following it from elsewhere."""

from collections.abc import Mapping

from skilljobs.cluster.dashboard_jobs import ClusterJobs, command_line
from skilljobs.errors import Detached, InputError, JobFailed
from skilljobs.progress.reporter import Reporter


def run_on_cluster(
    command: str,
    address: str,
    uri: str,
    run_id: str,
    options: Mapping[str, object],
    about: Mapping[str, str],
    wait: bool,
    reporter: Reporter,
) -> None:
    """Start `command` on the cluster whose dashboard is at `address`, and by default wait for its end.

    Args:
        uri: the directory of the run that it works on, as the cluster sees it.
        options: further options of the command, by flag.
        about: what the dashboard shows of the job beside that, by name.

    Raises:
        InputError: the cluster cannot be reached, or the job refused its input.
        JobFailed: the job failed, or can no longer be followed.
        Detached: the user stopped waiting.
    """
    jobs = ClusterJobs(address)
    submitted = jobs.submit(command_line(command, options), run_id, uri, about)
    reporter.note(f"job {submitted.id} at {jobs.address}, {submitted.status.lower()}")
    if not wait:
        return
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
