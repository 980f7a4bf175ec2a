"""The |r| that chance alone reaches somewhere in the model, for each metric and population, or why it is not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import polars as pl

from skilljobs.reduce.null_maxima import STRENGTHS, partial_null_maxima
from skilljobs.reduce.partial_correlations import expand
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.stats.layout import ALL, NULL_SKEWED, WITHIN
from skilljobs.stats.null import SKEWED, family_wise_threshold, is_skewed
from skilljobs.stats.null_within import covers_all, has_group_moments
from skilljobs.stats.totals import Moments
from skilljobs.store.reader import RunReader

OLDER = "the run was made by an older skilljobs, which did not keep what that needs; a new run has it"
SEVERAL = "it is not known for the mean over several soft prompts; that of one is, in RUN/prompts/0"


@dataclass(frozen=True)
class NullThreshold:
    """The |r| that null metrics reach somewhere in the model."""

    r: float
    half0: float | None
    """The same over the examples of half 0, and of half 1."""
    half1: float | None
    draws: int
    """Null metrics that the threshold is estimated from."""
    too_low: bool
    """Whether the metric is more skewed than the null metrics and so exceeds the threshold by chance more often."""
    is_approximate: bool
    """Whether it was scaled from another population, by the root of the ratio of the degrees of freedom."""

    @property
    def level(self) -> float:
        """The probability that another null metric exceeds the threshold."""
        return max(0.05, 1 / (self.draws + 1))


@dataclass(frozen=True)
class NoThreshold:
    """That there is no threshold."""

    reason: str


class NullThresholds:
    """The thresholds of a run. The moments of its metrics are read once, and kept by the reader."""

    def __init__(self, run: RunReader) -> None:
        self._run, self._layout = run, run.layout()
        self._nulls = [metric.name for metric in self._layout.metrics if metric.kind == "null"]

    @property
    def moments(self) -> Moments:
        """The moments of the run's metrics; those of its first soft prompt if it has several."""
        return self._run.cached("moments", self._read_moments)

    def _read_moments(self) -> Moments:
        halves = self._run.record.halves
        moments = read_moments(self._run.prompts()[0].folder, sorted(halves[0] + halves[1]))
        assert moments is not None
        return moments

    @cached_property
    def _maxima(self) -> pl.DataFrame:
        """The largest |r| of each null metric; in a run that has no such table, over `all` from its correlations."""
        if (stored := self._run.null_maxima()) is not None:
            return stored.collect()
        rows = self._run.correlations().filter(pl.col("metric").is_in(self._nulls), pl.col("population") == ALL)
        largest = pl.col(STRENGTHS).abs().max()
        return rows.group_by("metric", "population", maintain_order=True).agg(largest).collect()

    def of(self, metric: str, population: str = ALL, given: Sequence[str] = ()) -> NullThreshold | NoThreshold:
        """Return the family-wise threshold of |r| with `metric` over `population`, or why there is none.

        For a skewed metric, the threshold is that of the skewed null metrics if the run has them. It is exact over
        `all`, within groups that cover all examples, and over `all` with metrics held fixed. For a metric that some
        examples lack, for `COLUMN=value`, and for metrics held fixed within groups, it is that of all examples times
        the square root of the ratio of the degrees of freedom. With `given`, the sums of all shards are read.

        Raises:
            InputError: a metric in `given` does not exist or is `metric` itself.
        """
        if not self._nulls:
            return NoThreshold("the run has no null metrics")
        moments, layout, null = self.moments, self._layout, self._nulls[0]
        held = expand(layout, metric, given) if given else []
        if population == ALL and held and self._all_have([metric, *held]):
            if not all((ALL, name, null) in moments.index for name in held):
                return NoThreshold(OLDER)
            return self._threshold(metric, partial_null_maxima(self._run, held), 1.0)
        source = population if population.startswith(WITHIN) else ALL
        if source != ALL and not has_group_moments(moments, layout, null, source):
            return NoThreshold(OLDER)
        if source != ALL and not covers_all(moments, layout, null, source):
            source = ALL
        maxima = self._maxima.filter(pl.col("population") == source)
        if maxima.is_empty():
            return NoThreshold(SEVERAL if self._run.record.job_spec.prompts > 1 else OLDER)
        freedom = moments.degrees_of_freedom(layout, metric, population) - len(held)
        if freedom < 1:
            return NoThreshold("there are too few examples")
        return self._threshold(metric, maxima, sqrt(moments.degrees_of_freedom(layout, null, source) / freedom))

    def _threshold(self, metric: str, maxima: pl.DataFrame, scale: float) -> NullThreshold | NoThreshold:
        """The threshold of the null metrics that are like `metric`, times `scale`."""
        from_skewed = pl.col("metric").str.starts_with(NULL_SKEWED)
        signs, skewed = maxima.filter(~from_skewed), maxima.filter(from_skewed)
        skewness = self._run.record.skewness or {}
        metric_skewness = skewness.get(metric, 0.0)
        family = skewed if is_skewed(metric_skewness) and len(skewed) else signs
        points = {name: family_wise_threshold(family[name].drop_nulls().to_list()) for name in STRENGTHS}
        r, half0, half1 = (None if point is None else point * scale for point in points.values())
        if r is None:
            return NoThreshold("no null metric has a correlation with any neuron")
        if r >= 1 and scale > 1:
            return NoThreshold("there are too few examples")
        family_skewness = abs(skewness[NULL_SKEWED]) if family is skewed else SKEWED
        too_low = abs(metric_skewness) > 1.25 * family_skewness
        return NullThreshold(r, half0, half1, len(family), too_low, scale != 1.0)

    def _all_have(self, metrics: Sequence[str]) -> bool:
        """Whether all examples over which null metrics are summed have all of `metrics`."""
        examples = self.moments.pair(ALL, self._nulls[0], self._nulls[0])[0]
        return all(self.moments.pair(ALL, metric, metric)[0] == examples for metric in metrics)
