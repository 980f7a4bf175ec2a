"""A data set on the Hugging Face hub, as a place to publish a run at. It needs no more than huggingface_hub."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from skilljobs.errors import InputError, JobFailed
from skilljobs.export.published_files import PublishedFile
from skilljobs.store.files import Folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "hf://"
_DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)/?", re.ASCII)
T = TypeVar("T")


class HubDataset:
    """The data set `OWNER/NAME`."""

    def __init__(self, name: str, public: bool) -> None:
        self._name = name
        self.is_private = not public
        self.place = f"{HUB}datasets/{name}"

    @classmethod
    def of(cls, place: str, public: bool) -> "HubDataset":
        """The data set at `hf://datasets/OWNER/NAME`; nothing is asked of the hub.

        Raises:
            InputError: `place` is not such a name.
        """
        match = _DATASET.fullmatch(place)
        if match is None:
            raise InputError(f"{place} is not a data set on the Hugging Face hub: write hf://datasets/OWNER/NAME")
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(match[1])
        except HFValidationError as error:
            raise InputError(f"{place} is not a name that the Hugging Face hub allows: {_line(error)}") from None
        return cls(match[1], public)

    def open(self) -> None:
        """Make the data set, if there is none yet; one that is there stays as public as it is.

        Raises:
            InputError: there is no token.
            JobFailed: the hub cannot be reached, or does not allow it.
        """
        from huggingface_hub import get_token

        if get_token() is None:
            raise InputError(f"{self.place} needs a token that may write: log in with `hf auth login`, or set HF_TOKEN")
        self._ask(lambda api: api.create_repo(self._name, repo_type="dataset", private=self.is_private, exist_ok=True))

    def names(self) -> list[str]:
        """The files that are there."""
        return self._ask(lambda api: api.list_repo_files(self._name, repo_type="dataset"))

    def read(self, name: str) -> bytes:
        """The contents of a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = self._ask(lambda api: api.hf_hub_download(self._name, name, repo_type="dataset", local_dir=folder))
            return Path(path).read_bytes()

    def write(self, source: Folder, files: Sequence[PublishedFile], stale: Sequence[str]) -> None:
        """Write `files`, of which those without contents of their own are from `source`, and delete `stale`.

        It is one commit: the data set has all of it or nothing.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with tempfile.TemporaryDirectory() as folder:
            additions = [
                CommitOperationAdd(file.name, file.data if file.data is not None else _local(source, file.name, folder))
                for file in files
            ]
            deletions = [CommitOperationDelete(name) for name in stale]
            self._ask(
                lambda api: api.create_commit(
                    self._name, [*additions, *deletions], commit_message="Publish a run", repo_type="dataset"
                )
            )

    def _ask(self, call: "Callable[[HfApi], T]") -> T:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
        try:
            return call(HfApi(library_name="skilljobs"))
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else None
            if status in (401, 403):
                raise JobFailed(
                    f"the Hugging Face hub does not let this token write {self.place} (it answered {status});"
                    " nothing was published"
                ) from error
            raise JobFailed(f"{self.place} could not be published: {_line(error)}") from error
        except Exception as error:  # the HTTP library that huggingface_hub uses has errors of its own
            raise JobFailed(f"the Hugging Face hub could not be reached for {self.place}: {_line(error)}") from error


def _local(source: Folder, name: str, folder: str) -> Path:
    """A file of the run on this machine; one of an object store is fetched into `folder`."""
    if source.is_local:
        return Path(source.path(name))
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read(name))
    return path


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
