"""Places that are named by a URI or a local path: what is below them, and what a name of one must not hold."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from skilljobs.errors import InputError

_PASSWORD = re.compile(r"://[^/@]+:(?!\d+(/|$))[^@]*@")
"""A name and a password before the host; a key may hold slashes. A port is none."""
_SECRET_OPTION = re.compile(r"secret|token|password|credential|access_?key|signature|^sig$", re.IGNORECASE)


def is_uri(place: str) -> bool:
    """Whether a place is a URI; if not, it is a local path."""
    return "://" in place


def child_uri(place: str, name: str) -> str:
    """The file or folder `name` below a place. The query of a URI stays at its end; `name` may hold slashes."""
    if not is_uri(place):
        return f"{place.rstrip('/')}/{name}"
    path, mark, query = place.partition("?")
    return f"{path.rstrip('/')}/{quote(name, safe='/=+,:@~')}{mark}{query}"


def parent_and_name(place: str) -> tuple[str, str]:
    """The folder that a place is in, and its name there."""
    if not is_uri(place):
        parent, _, name = place.rstrip("/").rpartition("/")
        return parent or ("/" if place.startswith("/") else "."), name
    path, mark, query = place.partition("?")
    parent, _, name = path.rstrip("/").rpartition("/")
    return f"{parent}{mark}{query}", unquote(name)


def with_option(uri: str, name: str, value: str) -> str:
    """A URI with one more option in its query, unless that has it already."""
    query = uri.partition("?")[2]
    if name in dict(parse_qsl(query, keep_blank_values=True)):
        return uri
    return f"{uri}{'&' if query else '' if uri.endswith('?') else '?'}{name}={value}"


def checked_place(place: str, what: str) -> str:
    """Return `place` if it holds no secret and no fragment, which would be stored and shown, or silently dropped.

    `what` names the place in an error, which does not repeat it.

    Raises:
        InputError: it holds one.
    """
    if not is_uri(place):
        return place
    try:
        parts = urlsplit(place)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        has_key = parts.scheme in ("s3", "gs", "gcs") and parts.username is not None
    except ValueError:
        raise InputError(f"{what} is not a URI that can be read") from None
    if has_key or _PASSWORD.search(place) or any(map(_SECRET_OPTION.search, names)):
        raise InputError(
            f"{what} holds a secret, which would be stored and shown: give credentials by the environment"
            " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or by the machine's role"
        )
    if "#" in place:
        raise InputError(f"{what} is {place!r}: write %23 for a # in a URI, which would end its path")
    return place
