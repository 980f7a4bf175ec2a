"""What of the environment decides how a Ray cluster is reached. Ray reads some of it when it is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = "RAY_AUTH_MODE"
TOKEN_ADVICE = "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token"


def use_token_at_hand() -> None:
    """Switch token authentication on where there is a token and no mode is said: Ray does not, and is refused."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    default = Path.home() / ".ray" / "auth_token"
    if MODE not in os.environ and (os.environ.get("RAY_AUTH_TOKEN") or path or default.is_file()):
        os.environ[MODE] = "token"
        if "ray" in sys.modules:  # which has read the mode by now
            from ray._raylet import Config  # type: ignore[attr-defined]

            Config.initialize("")


def where_token_is() -> str:
    """What to add to the address of a dashboard that will ask for a token which Ray has made itself."""
    made = os.environ.get(MODE) == "token" and not os.environ.get("RAY_AUTH_TOKEN")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
    return f", its token is in {path}" if made else ""


@contextmanager
def without_ray_address() -> Iterator[None]:
    """Without the variables that go before any address that Ray's own functions are given."""
    hidden = {name: os.environ.pop(name, None) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})
