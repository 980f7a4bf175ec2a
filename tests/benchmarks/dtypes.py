"""What another type of numbers does to r: runs of the same examples and soft prompt, neuron by neuron.

    python -m tests.benchmarks.dtypes RUN OTHER [OTHER ...]

Prints a Markdown table of every OTHER against RUN.
"""

import sys
from collections.abc import Iterator

import numpy as np
import polars as pl

import skilljobs

TOP = 100
KEY = ["metric", "layer", "neuron"]


def rows(reference: skilljobs.Run, other: skilljobs.Run) -> Iterator[str]:
    """A row of the table for each metric: how far r is from that of `reference`, over the population `all`."""
    fields = ("examples_digest", "model_digest", "prompt_digest")
    if [reference.record.fingerprint.fields[f] for f in fields] != [other.record.fingerprint.fields[f] for f in fields]:
        raise SystemExit(f"{other.uri} has other examples, another model or another soft prompt than {reference.uri}")
    numerics = other.record.numerics
    assert numerics is not None
    both = _r(reference).join(_r(other), on=KEY, suffix="_other")
    for (metric,), pairs in both.sort(KEY).group_by("metric", maintain_order=True):
        found = pairs.drop_nulls(["r", "r_other"])
        first, second = found["r"].to_numpy(), found["r_other"].to_numpy()
        apart = np.abs(first - second)
        shared = len(_top(first) & _top(second))
        lost = int((pairs["r"].is_null() != pairs["r_other"].is_null()).sum())
        yield (
            f"| {numerics.dtype}, batches of {numerics.batch_tokens} | {metric} | {apart.max():.1e}"
            f" | {np.quantile(apart, 0.99):.1e} | {np.median(apart):.1e} | {np.abs(first).max():.3f}"
            f" | {apart[sorted(_top(first))].max():.1e} | {shared} of {TOP} | {lost} |"
        )


def _r(run: skilljobs.Run) -> pl.DataFrame:
    return run.correlations().filter(pl.col("population") == "all").select(*KEY, "r").collect()


def _top(r: np.ndarray) -> set[int]:
    return set(np.argsort(-np.abs(r), kind="stable")[:TOP].tolist())


def main() -> None:
    """Compare the runs named on the command line."""
    first, *others = (skilljobs.open_run(uri) for uri in sys.argv[1:])
    print(
        "| run | metric | max \\|dr\\| | 99 % of \\|dr\\| | median \\|dr\\| | max \\|r\\| | max \\|dr\\| of the top 100"
        " | shared of the top 100 | r null in one only |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for other in others:
        print(*rows(first, other), sep="\n")


if __name__ == "__main__":
    main()
