"""Creating a file only if there is none yet, so that of several processes exactly one succeeds.

pyarrow cannot do that on an object store: its streams replace what is there. obstore has conditional puts.
"""

import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from skilljobs.store.files import Folder

SCHEMES = frozenset({"s3", "gs", "gcs", "az", "abfs", "abfss"})


def create(folder: Folder, name: str, data: bytes) -> bool:
    """Create the file `name`. Returns False, and changes nothing, if there is one already.

    On a filesystem that is neither local nor an object store that obstore knows, two processes that create the file in
    the same moment may both succeed.
    """
    if folder.is_local:
        path = Path(folder.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        # a link appears with its content; a file that is opened exclusively would be empty at first
        whole = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            whole.write_bytes(data)
            os.link(whole, path)
        except FileExistsError:
            return False
        finally:
            whole.unlink(missing_ok=True)
        return True
    if urlsplit(folder.uri).scheme in SCHEMES:
        return _put_if_absent(folder.uri, name, data)
    if folder.exists(name):
        return False
    folder.write(name, data)
    return True


def _put_if_absent(uri: str, name: str, data: bytes) -> bool:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError
    from obstore.store import from_url

    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    config: dict[str, Any] = {}
    if "region" in options:
        config["region"] = options["region"]
    if "endpoint_override" in options:
        config["endpoint"] = f"{options.get('scheme', 'https')}://{options['endpoint_override']}"
    store = from_url(f"{parts.scheme}://{parts.netloc}{parts.path}", client_options={"allow_http": True}, **config)
    try:
        obstore.put(store, name, data, mode="create")
    except AlreadyExistsError:
        return False
    except BaseError as error:
        raise OSError(str(error).partition("\n")[0]) from error
    return True
