"""The soft prompt that a job reuses, of a run or a file, here or on object storage."""

import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.run import PROMPT_NAME, RunFiles, prompt_uri


def prompt_bytes(run_or_file: str) -> bytes:
    """The safetensors bytes of it.

    Raises:
        InputError: there is no such run or file, or the run has several prompts.
    """
    parent, _, name = run_or_file.rstrip("/").rpartition("/")
    try:
        run = RunFiles(run_or_file)
        if run.folder.exists(PROMPT_NAME):
            return run.folder.read(PROMPT_NAME)
        if RunFiles(prompt_uri(run.uri, 0)).exists:
            raise InputError(
                f"--soft-prompt {run_or_file} has several soft prompts: name one, {prompt_uri(run_or_file, 0)}"
            )
        return Folder(parent or ("/" if run_or_file.startswith("/") else ".")).read(name)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"--soft-prompt {run_or_file}: there is no such run or file") from error
