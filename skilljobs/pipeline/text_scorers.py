"""Scorers that write texts or judge them."""

from collections.abc import Callable, Iterator
from typing import Any

from skilljobs.checkpoints.source import ModelSource
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.resolving import resolve_on
from skilljobs.cluster.shared_scorers import scorers_of_job
from skilljobs.plan.capacity import Cluster, Placement, Replicas, lay_out
from skilljobs.plan.work import ModelSetup
from skilljobs.progress.reporter import Reporter
from skilljobs.selection import Selection
from skilljobs.spec import JobSpec


class TextScorers:
    """Scorers that write or judge: a group for each call, since the two may be different models."""

    def __init__(self, spec: JobSpec, cluster: Cluster, placement: Placement, run_id: str, reporter: Reporter) -> None:
        self._spec, self._cluster, self._placement, self._reporter = spec, cluster, placement, reporter
        self._run_id = run_id

    def map(self, source: ModelSource, items: list[int], call: Callable[[Any, int, int], Any]) -> Iterator[Any]:
        """Results of `call(actor, item, batch_tokens)` for every item, as they come."""
        if not items:
            return
        note = self._reporter.note
        numerics = resolve_on(self._cluster, self._spec, source, self._placement, note)
        replicas = lay_out(self._cluster, Replicas.one_with(numerics), self._placement.replicas, len(items))
        setup = ModelSetup.of(source, numerics, Selection(), self._cluster.grows)
        with scorers_of_job(setup, replicas, note, self._run_id) as group:
            pool = ScorerPool(group, note, shard_timeout=self._placement.shard_timeout)
            yield from pool.map(items, lambda actor, item: call(actor, item, numerics.batch_tokens))
