"""The reasons in Ray's errors."""

from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from skilljobs.errors import InputError, JobFailed

DEATHS = (RayActorError, OutOfMemoryError)
"""What a call on an actor that died raises; the second is no kind of the first, and means Ray's own watch on memory."""
MEMORY_ADVICE = "use fewer scorers (--replicas), or smaller batches in a new run (--batch-tokens)"
KERNEL_MAY_HAVE = "OOM killer"
"""Words in what Ray says of a process that was killed, by the kernel for want of memory or by anybody."""


def own_error(error: RayTaskError) -> Exception:
    """The exception that the task itself raised, as one of skilljobs' own."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, InputError | JobFailed):
        return cause
    return JobFailed(one_line(error))


def one_line(error: Exception) -> str:
    """The one line of an error that says most; with advice, where memory was or may have been the cause."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    line = "" if not lines else lines[-1] if isinstance(error, RayTaskError) else lines[0]
    said = f"{type(cause).__name__}: {line}"
    if isinstance(error, OutOfMemoryError):
        return f"its machine ran out of memory: {MEMORY_ADVICE}; {said}"
    if isinstance(error, RayActorError) and KERNEL_MAY_HAVE in str(error):
        return f"{said} If its machine ran out of memory, {MEMORY_ADVICE}."
    return said
