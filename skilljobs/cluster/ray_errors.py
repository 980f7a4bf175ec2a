"""The reasons in Ray's errors."""

from ray.exceptions import RayTaskError

from skilljobs.errors import InputError, JobFailed


def own_error(error: RayTaskError) -> Exception:
    """The exception that the task itself raised, as one of skilljobs' own."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, InputError | JobFailed):
        return cause
    return JobFailed(one_line(error))


def one_line(error: Exception) -> str:
    """The one line of an error that says most."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    line = "" if not lines else lines[-1] if isinstance(error, RayTaskError) else lines[0]
    return f"{type(cause).__name__}: {line}"
