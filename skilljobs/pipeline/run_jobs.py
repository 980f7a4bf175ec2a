"""The jobs on a finished run, from Python. Ray is imported when one of them begins."""

from typing import Any

import polars as pl

from skilljobs.cluster.authentication import cluster_address
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.capacity import Placement
from skilljobs.plan.effects_spec import EffectsSpec
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.notebook import suitable_reporter
from skilljobs.progress.reporter import Reporter
from skilljobs.store.reader import RunReader


class FinishedRunJobs(RunReader):
    """A run that jobs can be done on once it is finished."""

    def ablate(
        self,
        *,
        replicas: int | None = None,
        shard_timeout: float | None = None,
        address: str | None = None,
        trust_remote_code: bool = False,
        report: bool = True,
        reporter: Reporter | None = None,
        debug: bool = False,
        **options: Any,
    ) -> pl.DataFrame:
        """Silence neurons of a finished run, and return what that did: a row for each set and group.

        Neurons are ranked on half 0, and effects are measured on half 1. The same call again resumes.

        Args:
            replicas, shard_timeout, address, debug: as for `submit`. On a cluster with an HTTP address, this machine
                must see the run too.
            trust_remote_code: whether to run the Python code of a model that the run used with it.
            report: whether to write the run's report anew, with the ablation in it.
            options: the options of `skilljobs ablate` under the same names; `k` may be a number or a list, and
                `neuron` a name or a list.

        Raises:
            InputError: bad input, or units that cannot be silenced; nothing was started.
            JobFailed: it could not be finished; what was committed is kept.
        """
        from skilljobs.pipeline.ablate_job import ablate_run

        placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
        spec = AblationSpec.from_values(options)
        rows = ablate_run(self.uri, spec, placement, trust_remote_code, report, reporter or suitable_reporter())
        self._cache.clear()
        return rows

    def effects(
        self,
        *,
        replicas: int | None = None,
        shard_timeout: float | None = None,
        address: str | None = None,
        trust_remote_code: bool = False,
        report: bool = True,
        reporter: Reporter | None = None,
        debug: bool = False,
        **options: Any,
    ) -> pl.DataFrame:
        """Estimate to first order what setting each neuron of a finished run to its mean would do, all at once.

        The rows have a neuron in a group each: `effect` and what follows from it are of half 1, and `effect_half0` is
        for choosing neurons. They are read from `effects.parquet` (`effect_table`). The same call again resumes.

        Args:
            replicas, shard_timeout, address, debug: as for `submit`. On a cluster with an HTTP address, this machine
                must see the run too.
            trust_remote_code: whether to run the Python code of a model that the run used with it.
            report: whether to write the run's report anew, with the effects in it.
            options: the options of `skilljobs effects` under the same names.

        Raises:
            InputError: bad input, or a model or units that effects are not estimated for; nothing was started.
            JobFailed: it could not be finished; what was committed is kept.
        """
        from skilljobs.pipeline.effects_job import effects_of_run

        placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
        spec = EffectsSpec.from_values(options)
        rows = effects_of_run(self.uri, spec, placement, trust_remote_code, report, reporter or suitable_reporter())
        self._cache.clear()
        return rows

    def shortcuts(
        self,
        *,
        replicas: int | None = None,
        shard_timeout: float | None = None,
        address: str | None = None,
        trust_remote_code: bool = False,
        report: bool = True,
        reporter: Reporter | None = None,
        debug: bool = False,
        **options: Any,
    ) -> pl.DataFrame:
        """Look for properties that neurons of a finished run follow, and say which are shortcuts of the model.

        Properties are found on half 0 and judged on half 1. The same call again resumes.

        Args:
            replicas, shard_timeout, address, trust_remote_code, report, debug: as for `ablate`.
            options: the options of `skilljobs shortcuts` under the same names; `neuron` and `property` may be lists.

        Returns:
            a row for each neuron and property, as in `shortcuts.parquet`.

        Raises:
            InputError: bad input, or units that cannot be silenced; nothing was started.
            JobFailed: it could not be finished; what was committed is kept.
        """
        from skilljobs.pipeline.shortcuts_job import find_shortcuts

        placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
        spec = ShortcutsSpec.from_values(options)
        rows = find_shortcuts(self.uri, spec, placement, trust_remote_code, report, reporter or suitable_reporter())
        self._cache.clear()
        return rows
