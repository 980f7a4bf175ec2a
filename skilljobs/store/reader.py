"""Reads a run's tables as Polars frames."""

import os
from functools import cached_property

import polars as pl

from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.store.files import Folder
from skilljobs.store.record import RunRecord
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.run import (
    ACTIVATIONS_NAME,
    BEST_NAME,
    TOP_NAME,
    VOCABULARY_NAME,
    RunFiles,
    prompt_uri,
)


class RunReader:
    """A run's tables, as Polars frames. The columns are described in the README."""

    def __init__(self, uri: str) -> None:
        self._location = uri
        self._tables: dict[str, pl.DataFrame] = {}

    @cached_property
    def _files(self) -> RunFiles:
        """The run's files, opened on first use because a run on a cluster may not be visible from this machine."""
        return RunFiles(self._location)

    @property
    def record(self) -> RunRecord:
        """The record in `run.json`.

        Raises:
            InputError: there is no run at this place (yet), or its record cannot be read.
        """
        return self._files.record

    @property
    def uri(self) -> str:
        """The run's URI, or the absolute path of its directory."""
        return self._location if "://" in self._location else os.path.abspath(os.path.expanduser(self._location))

    @property
    def exists(self) -> bool:
        """Whether the run has a record yet."""
        return self._files.exists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def reload(self) -> None:
        """Discard what was read and read the record again, because a job that is working on the run changes it."""
        self._files.load()
        self._tables.clear()

    def correlations(self) -> pl.LazyFrame:
        """Return the correlations of every neuron with every metric over every population."""
        return self._scan("correlations/*.parquet")

    def examples(self) -> pl.LazyFrame:
        """Return the test examples as they were evaluated."""
        return pl.scan_parquet(f"{self._prompt_uris()[0]}/examples/*.parquet")

    def scores(self) -> pl.LazyFrame:
        """Return the model-derived metrics of every test example."""
        return self._scan_prompts("shards/scores-*.parquet")

    def sums(self) -> pl.LazyFrame:
        """Return the sums of every shard."""
        return self._scan_prompts("shards/sums-*.parquet")

    def tuning(self) -> pl.LazyFrame:
        """Return the tuning curve: step, split, loss, accuracy. A run that did not tune its prompt has none."""
        return self._scan_prompts("prompt/tuning.parquet")

    def strongest(self) -> pl.LazyFrame:
        """Return the rows with the 1,000 largest |r| of each metric and population."""
        return self._scan_cached(TOP_NAME)

    def best(self) -> pl.LazyFrame:
        """Return, for a run with `--tokens each`, the best token of each neuron.

        Its p is corrected for having been chosen: it is multiplied by the number of tokens.
        """
        return self._scan(BEST_NAME)

    def activations(self) -> pl.LazyFrame:
        """Return the activations of the top neurons of each metric over examples of half 1."""
        return self._scan_prompts(ACTIVATIONS_NAME)

    def vocabulary(self) -> pl.LazyFrame:
        """Return the tokens whose logits the top neurons raise and lower most, computed from the weights alone."""
        return self._scan_prompts(VOCABULARY_NAME)

    def metrics(self) -> pl.LazyFrame:
        """Return the name, kind and reference of each metric, and whether it is nullable."""
        return self._scan_cached(METRICS_NAME)

    def prompts(self) -> "list[RunReader]":
        """Return the runs of the soft prompts that have been started.

        A run with one soft prompt returns itself.
        """
        uris = self._prompt_uris()
        return [self] if uris == [self.uri] else [RunReader(uri) for uri in uris if RunFiles(uri).exists]

    def layout(self) -> Layout:
        """Return the metrics and populations of the run's sums."""
        metrics = tuple(
            Metric(row["metric"], row["kind"], row["nullable"], row["column"], row["level"])
            for row in self.metrics().collect().iter_rows(named=True)
        )
        groups = {column: tuple(names) for column, names in self.record.groups.items()}
        return Layout(metrics, (ALL, *(name for names in groups.values() for name in names)), groups)

    @property
    def folder(self) -> Folder:
        """The run's directory."""
        return self._files.folder

    def committed_numbers(self) -> list[int]:
        """Return the numbers of the committed shards of a run with one soft prompt."""
        return self._files.committed_numbers()

    def committed_shards(self) -> int:
        """Return the number of committed shards over all soft prompts."""
        return sum(RunFiles(uri).committed_count() for uri in self._prompt_uris())

    def _scan_cached(self, name: str) -> pl.LazyFrame:
        """Read a table that is used often and cache it, because each read from object storage takes many requests."""
        if name not in self._tables:
            self._tables[name] = self._scan(name).collect()
        return self._tables[name].lazy()

    def _scan(self, pattern: str) -> pl.LazyFrame:
        return pl.scan_parquet(f"{self.uri}/{pattern}")

    def _scan_prompts(self, pattern: str) -> pl.LazyFrame:
        """Return a table of all soft prompts, with a column `prompt` if there are several."""
        frames = [pl.scan_parquet(f"{uri}/{pattern}") for uri in self._prompt_uris()]
        if len(frames) == 1:
            return frames[0]
        return pl.concat([frame.with_columns(prompt=pl.lit(number, pl.Int16)) for number, frame in enumerate(frames)])

    def _prompt_uris(self) -> list[str]:
        count = self.record.job_spec.prompts
        return [self.uri] if count == 1 else [prompt_uri(self.uri, number) for number in range(count)]
