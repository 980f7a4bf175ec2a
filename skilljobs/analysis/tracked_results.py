"""What a finished run found, as named numbers for an experiment tracker."""

from skilljobs.analysis.conclusions import count_above
from skilljobs.analysis.null_thresholds import NoThreshold, NullThresholds
from skilljobs.stats.layout import ALL, NULL, WITHIN
from skilljobs.store.reader import RunReader


def tracked_results(run: RunReader) -> dict[str, float | None]:
    """Accuracy, counts, and for each metric, over all examples and within groups, its neurons above the null threshold.

    Numbers are None where they are not known.
    """
    record, thresholds = run.record, NullThresholds(run)
    results: dict[str, float | None] = {
        "accuracy/before": record.accuracy.before,
        "accuracy/after": record.accuracy.after,
        "accuracy/test": record.accuracy.test,
        "examples": record.examples.test,
        "tokens": record.tokens,
        "set_aside": len(record.set_aside),
    }
    layout = run.layout()
    for population in layout.reported_populations:
        if population != ALL and not population.startswith(WITHIN):
            continue
        for metric in (metric.name for metric in layout.metrics if not metric.name.startswith(NULL)):
            threshold = thresholds.of(metric, population)
            if not isinstance(threshold, NoThreshold):
                counts = count_above(run, metric, population, threshold)
                results[f"above_null/{population}/{metric}"] = counts.above
                results[f"hold/{population}/{metric}"] = counts.hold
    return results
