"""Fetching a model's files from the Hugging Face hub, or from its local cache."""

from collections.abc import Sequence
from pathlib import Path

from skilljobs.errors import InputError


def fetch(name: str, patterns: Sequence[str], revision: str | None = None, download: bool = True) -> Path:
    """The directory of a commit of the model called `name`, downloaded if necessary.

    Args:
        patterns: which files are needed.
        revision: a branch, a tag or a commit; None for the main branch.
        download: whether the network may be used; otherwise only the local cache is.

    Returns:
        A directory that has the name of the commit.

    Raises:
        InputError: there is no such model or revision, or it cannot be reached.
    """
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local or not name.strip():
        raise InputError(f"there is no model directory {name!r}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=not download)
        )
    except GatedRepoError as error:
        raise InputError(
            f"the model {name} is gated: accept its licence on the Hugging Face hub and log in (`hf auth login`)"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"the model {name} has no revision {revision!r} on the Hugging Face hub") from error
    except (RepositoryNotFoundError, HFValidationError):
        reason = "nor a model on the Hugging Face hub"
    except (LocalEntryNotFoundError, OSError):
        reason = "nor in the local cache of the Hugging Face hub" + (
            ", and the hub could not be reached" if download else ""
        )
    what = f"model {name!r}" if revision is None else f"model {name!r} at the revision {revision!r}"
    raise InputError(f"there is no {what}: it is neither 'tiny', nor a directory, {reason}")
