"""Files of a run as Polars frames, from a disk or from object storage."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

import polars as pl
import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.errors import InputError
from skilljobs.store.attempts import sums_names
from skilljobs.store.files import Folder
from skilljobs.store.shards import UNREADABLE
from skilljobs.uris import child_uri, is_uri

ADVICE = "if it is damaged, the command that made the run makes it again with --verify, where that is possible"
LONGEST_REASON = 300
"""Characters of a library's error that are repeated."""


def scan(uri: str, names: Sequence[str]) -> pl.LazyFrame:
    """Read files of a run as one table. The name of a run may have any characters, so nothing is taken as a pattern."""
    return pl.scan_parquet([_source(uri, name) for name in names], glob=False, storage_options=_storage_options(uri))


def read_table(uri: str, name: str, schema: pa.Schema) -> pl.DataFrame:
    """Read one file of a run, by pyarrow: on some damage, Polars ends the process.

    Raises:
        InputError: the file is missing, damaged, or does not have the columns of `schema`.
    """
    try:
        with Folder(uri).open(name) as file:
            table = pq.ParquetFile(file).read()
        frame = pl.DataFrame(pl.from_arrow(table))
    except FileNotFoundError:
        raise InputError(f"the run at {uri} lacks {name}: the command that made it makes it again") from None
    except (*UNREADABLE, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise InputError(f"the run at {uri} has a file {name} that cannot be read: {reason}; {ADVICE}") from error
    if not table.schema.equals(schema):
        raise InputError(
            f"the run at {uri} has a file {name} of other columns than {', '.join(schema.names)}; {ADVICE}"
        )
    return frame


def _source(uri: str, name: str) -> str:
    """A file of a run as Polars is told it: without the query of the run's URI."""
    folder = Folder(uri)
    if folder.is_local:
        return folder.path(name)
    scheme, _, rest = uri.partition("://")
    if scheme == "s3":
        return f"s3://{folder.path(name)}"
    if "?" in rest:
        raise InputError(f"the run at {uri} cannot be read: the options of a URI are understood for s3:// alone")
    return child_uri(uri, name)


def _storage_options(uri: str) -> dict[str, str] | None:
    """What the query of an S3 URI says, in the words of Polars: pyarrow reads it by itself."""
    options = dict(parse_qsl(uri.partition("?")[2])) if uri.startswith("s3://") else {}
    stated = {}
    if region := options.get("region"):
        stated["aws_region"] = region
    if endpoint := options.get("endpoint_override"):
        scheme = options.get("scheme", "https")
        stated["aws_endpoint_url"] = endpoint if is_uri(endpoint) else f"{scheme}://{endpoint}"
        stated["aws_allow_http"] = str(stated["aws_endpoint_url"].startswith("http://")).lower()
    return stated or None


def scan_sums(uri: str) -> pl.LazyFrame:
    """Read the sums of each shard once, whichever attempt at it counts, and of all ranks that wrote some."""
    names = [name for names in sums_names(Folder(uri)).values() for name in names]
    if not names:
        raise InputError(f"the run at {uri} has no shards/sums-*.parquet yet")
    return scan(uri, names)


def scan_folder(uri: str, folder: str, prefix: str) -> pl.LazyFrame:
    """Read the files of a run's folder whose names begin with `prefix` as one table."""
    names = [name for name in Folder(uri).names(folder, ".parquet") if name.startswith(f"{folder}/{prefix}")]
    if not names:
        raise InputError(f"the run at {uri} has no {folder}/{prefix}*.parquet yet")
    return scan(uri, names)
