"""Counters for dashboards. Ray exports them at every machine's metrics port as `ray_skilljobs_…_total`.

Each has the label `run`. Series of several processes must be summed, since Ray adds labels for the worker.
"""

from functools import cache

import ray
from ray.util.metrics import Counter

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "examples": ("Test examples that were scored", ()),
    "tokens": ("Tokens that the model read for them, without padding", ()),
    "bytes_written": ("Bytes of committed shards", ()),
    "scoring_seconds": ("Seconds that scorers computed, added up over scorers", ()),
    "stage_seconds": ("Seconds of finished stages while Ray was up", ("stage",)),
    "shards_done": ("Shards that were committed", ()),
    "shards_retried": ("Shards that were given out again", ()),
    "rows_quarantined": ("Rows of the data set that were left out", ()),
}
"""What each counter counts, and its own labels."""


def exported_name(counter: str) -> str:
    """The name of a counter in Prometheus."""
    return f"ray_skilljobs_{counter}_total"


def count(counter: str, value: float, run: str, **labels: str) -> None:
    """Add to a counter. Nothing happens if Ray is not running, or there is nothing to add."""
    if value > 0 and ray.is_initialized():
        _counter(counter).inc(value, {"run": run, **labels})


@cache
def _counter(name: str) -> Counter:
    meaning, labels = COUNTERS[name]
    return Counter(f"skilljobs_{name}_total", meaning, ("run", *labels))
