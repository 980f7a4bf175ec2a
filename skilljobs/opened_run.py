"""A run in Python: its tables, questions to them, and jobs on it."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from skilljobs.analysis.ranking import top
from skilljobs.analysis.run_view import html_of, record_of, status_of, wait_for, way_on_of
from skilljobs.errors import InputError
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.capacity import Placement
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.notebook import suitable_reporter
from skilljobs.progress.reporter import Reporter
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.record import RunRecord
from skilljobs.store.run import PROMPT_NAME, prompt_uri

if TYPE_CHECKING:
    import torch


class Run(RunReader):
    """A run: its tables, and questions to them."""

    @property
    def record(self) -> RunRecord:
        """See `RunReader`; without a record yet, the error says whether a job works on the run."""
        return record_of(self._files)

    def way_on(self) -> str:
        return way_on_of(self)

    def top(
        self,
        metric: str,
        k: int = 20,
        population: str = ALL,
        given: Sequence[str] = (),
        per_layer: bool = False,
        sort: str = "r",
    ) -> pl.DataFrame:
        """The `k` neurons of largest |r| with `metric` in `population`, strongest first.

        Args:
            given: metrics that are held fixed: r is then the partial correlation.
            per_layer: whether `k` counts for each layer.
            sort: `r`, or `predictivity` in a run that has it.

        Raises:
            InputError: the run has no such metric or population, or cannot hold `given` fixed.
        """
        return top(self, metric, population, k, given, per_layer, sort)

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

    @property
    def status(self) -> str:
        """How the run is doing: `complete`, or what its job is at, or why it ended."""
        return status_of(self)

    def wait(self, timeout: float | None = None) -> "Run":
        """The run, once it is complete, for a job that was submitted with `no_wait`; errors as `wait_for`."""
        wait_for(self, timeout)
        return self

    def _repr_html_(self) -> str:
        return html_of(self)

    def soft_prompt(self) -> "torch.Tensor":
        """The soft prompt, P x d_model, float32.

        Raises:
            InputError: the run has several.
        """
        from skilljobs.lm.prompt import read_prompt_bytes

        count = self.record.job_spec.prompts
        if count > 1:
            raise InputError(f"the run has {count} soft prompts: open one, {prompt_uri(self.uri, 0)} and so on")
        return read_prompt_bytes(self.folder.read(PROMPT_NAME)).vectors


def cluster_address(address: str | None) -> str | None:
    """The address of the Ray cluster to use: `address`, otherwise RAY_ADDRESS; None for a Ray that is started here."""
    if not isinstance(address, str | None):
        raise InputError(f"--address is {address!r}; it takes a text")
    from skilljobs.cluster.authentication import use_token_at_hand

    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None and address.startswith("ray://"):
        raise InputError(f"--address {address}: Ray Client is not supported; use the dashboard's, http://HEAD:8265")
    if address in (None, "", "local"):
        return None
    use_token_at_hand()  # before Ray is imported
    return address
