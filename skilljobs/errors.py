"""The two ways a command ends badly. Anything else that escapes is a bug in skilljobs."""


class InputError(Exception):
    """Bad usage or input, found before anything was started: exit code 2.

    The message is one sentence that names the offending thing.
    """


class JobFailed(Exception):  # noqa: N818  it is what happened
    """The job started and could not finish: exit code 1.

    The message names the reason, says what was kept and how to resume.
    """
