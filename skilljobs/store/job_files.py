"""What the files of every job on a finished run have in common: its record, the index of its tables, and damage."""

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.integrity import damaged_names, digests_of
from skilljobs.store.record import FileDigest
from skilljobs.store.run import RunFiles
from skilljobs.store.shards import UNREADABLE

R = TypeVar("R", bound=BaseModel)
_INDEX = TypeAdapter(dict[str, FileDigest])


def read_job_record(folder: Folder, name: str, kind: type[R], version: int) -> R:
    """The record in the file `name` of a run.

    Raises:
        InputError: it cannot be read, or is not of the format `version`.
    """
    try:
        stored = json.loads(folder.read(name))
        if isinstance(stored, dict) and stored.get("format") != version:
            raise InputError(f"{folder.uri} has a file {name} of format {stored.get('format')!r}, not {version}")
        return kind.model_validate(stored)
    except (*UNREADABLE, ValidationError, RecursionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{folder.uri} has a file {name} that cannot be read: {reason}") from error


def write_index(folder: Folder, index: str, tables: Sequence[str]) -> None:
    """Write the file `index`, which identifies tables at a run's root."""
    digests = {name: digest.model_dump() for name, digest in digests_of(folder, tables).items()}
    folder.write(index, (json.dumps(digests, indent=2) + "\n").encode())


def damaged_with_tables(run: RunFiles, index: str, own_damage: Callable[[RunFiles], list[str]]) -> list[str]:
    """What `own_damage` finds in a run and in the runs of its prompts, and which tables of `index` are damaged."""
    damaged = [f"prompts/{number}/{name}" for number, files in enumerate(run.prompt_runs) for name in own_damage(files)]
    damaged += own_damage(run)
    if not run.folder.exists(index):
        return damaged
    try:
        tables = _INDEX.validate_json(run.folder.read(index))
    except UNREADABLE:
        return [*damaged, index]
    return damaged + damaged_names(run.folder, tables, thorough=True)
