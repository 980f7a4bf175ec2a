"""Scorers that write texts or judge them."""

from collections.abc import Callable, Iterator
from typing import Any

from skilljobs.cluster.actor import start_scorer
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.resolving import resolve_on
from skilljobs.cluster.scorer_group import ScorerGroup
from skilljobs.lm.source import ModelSource
from skilljobs.plan.capacity import Cluster, Placement, Replicas, lay_out
from skilljobs.plan.work import ModelSetup
from skilljobs.progress.reporter import Reporter
from skilljobs.spec import JobSpec


class TextScorers:
    """Scorers that write or judge: a group for each call, since the two may be different models."""

    def __init__(self, spec: JobSpec, cluster: Cluster, placement: Placement, reporter: Reporter) -> None:
        self._spec, self._cluster, self._placement, self._reporter = spec, cluster, placement, reporter

    def map(self, source: ModelSource, items: list[int], call: Callable[[Any, int], Any]) -> Iterator[Any]:
        """Results of `call` for every item, as they come."""
        if not items:
            return
        note = self._reporter.note
        numerics = resolve_on(self._cluster, self._spec, source, self._placement, note)
        replicas = lay_out(self._cluster, Replicas.one_with(numerics), self._placement.replicas, len(items))
        setup = ModelSetup(source, numerics, self._cluster.grows)
        group = ScorerGroup(lambda name: start_scorer(name, setup, replicas), replicas.count, note)
        try:
            yield from ScorerPool(group, note).map(items, call)
        finally:
            group.close()
