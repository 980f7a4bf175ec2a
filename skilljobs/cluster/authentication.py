"""The parts of the environment that decide how a Ray cluster is reached. Ray reads some when it is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skilljobs.errors import InputError

MODE = "RAY_AUTH_MODE"
TOKEN_ADVICE = "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token"


def cluster_address(address: str | None) -> str | None:
    """The address of the Ray cluster to use: `address`, otherwise RAY_ADDRESS; None for a Ray that is started here."""
    if not isinstance(address, str | None):
        raise InputError(f"--address is {address!r}; it takes a text")
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None and address.startswith("ray://"):
        raise InputError(f"--address {address}: Ray Client is not supported; use the dashboard's, http://HEAD:8265")
    if address in (None, "", "local"):
        return None
    use_token_at_hand()  # before Ray is imported
    return address


def use_token_at_hand() -> None:
    """Switch token authentication on if there is a token and no mode is set: Ray itself would not, and be refused."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    default = Path.home() / ".ray" / "auth_token"
    if MODE not in os.environ and (os.environ.get("RAY_AUTH_TOKEN") or path or default.is_file()):
        os.environ[MODE] = "token"
        if "ray" in sys.modules:  # it has already read the mode
            from ray._raylet import Config  # type: ignore[attr-defined]

            Config.initialize("")


def token_location() -> str:
    """What to add to the address of a dashboard that asks for a token that Ray has generated itself."""
    made = os.environ.get(MODE) == "token" and not os.environ.get("RAY_AUTH_TOKEN")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
    return f", its token is in {path}" if made else ""


@contextmanager
def without_ray_address() -> Iterator[None]:
    """Hide the variables that override any address passed to Ray's own functions."""
    hidden = {name: os.environ.pop(name, None) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})
