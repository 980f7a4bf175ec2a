"""The filesystems that URIs lead to."""

import pyarrow as pa
from pyarrow import fs

from skilljobs.errors import InputError
from skilljobs.uris import checked_place, with_option

ATTEMPTS = 4
"""At a request to an object store. A request that is not answered takes three to ten seconds."""


def open_uri(uri: str, what: str) -> tuple[fs.FileSystem, str]:
    """Return the filesystem that a URI leads to, and the path there. `what` names the place in an error.

    Raises:
        InputError: the URI holds a secret, or names no place that pyarrow can reach.
    """
    checked_place(uri, what)
    # without this option, every small file on an object store would need a multipart upload
    opened = with_option(uri, "allow_delayed_open", "true") if uri.startswith("s3://") else uri
    try:
        filesystem, path = fs.FileSystem.from_uri(opened)
        return _with_few_attempts(filesystem), path
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{uri} is not a place that can be reached: {error}") from error


def _with_few_attempts(filesystem: fs.FileSystem) -> fs.FileSystem:
    """The same filesystem, which gives up a store that does not answer within a minute.

    What pyarrow makes of a URI tries for five minutes at each request, and a URI has no option for it.
    """
    if not isinstance(filesystem, fs.S3FileSystem):
        return filesystem
    _, (options,) = filesystem.__reduce__()
    return fs.S3FileSystem(**options, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS))
