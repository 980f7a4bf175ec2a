"""Values that are sent to scorers in many calls."""

from typing import Any

import ray


def shared(value: Any) -> Any:
    """A reference to `value`, which stands for it as an argument of a scorer's method: each machine gets it once."""
    return ray.put(value)
