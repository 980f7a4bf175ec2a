"""Reads a run's tables as Polars frames."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.cleaning import SUMS_DROPPED
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import ABLATION, EFFECTS_NULL, SHORTCUTS
from skilljobs.store.made_tables import is_made
from skilljobs.store.record import RunRecord
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.run import (
    ABLATION_NAME,
    ABLATION_SCORES_NAME,
    ACTIVATIONS_NAME,
    BEST_NAME,
    EFFECTS_NAME,
    EFFECTS_NULL_NAME,
    NULL_MAXIMA_NAME,
    SHORTCUTS_NAME,
    TOP_NAME,
    TUNING_NAME,
    VOCABULARY_NAME,
    RunFiles,
    correlations_name,
    prompt_uri,
)
from skilljobs.store.scanning import read_table, scan, scan_folder, scan_sums
from skilljobs.store.schema import CORRELATIONS, CORRELATIONS_PREDICTIVITY, METRICS, NULL_MAXIMA
from skilljobs.uris import is_uri

T = TypeVar("T")


class RunReader:
    """A run's tables, as Polars frames. docs/files.md describes the columns."""

    def __init__(self, uri: str) -> None:
        self._location = uri
        self._cache: dict[str, Any] = {}

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
        return self._location if is_uri(self._location) else os.path.abspath(os.path.expanduser(self._location))

    @property
    def exists(self) -> bool:
        """Whether the run has a record yet."""
        return self._files.exists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def reload(self) -> None:
        """Discard what was read and read the record again, because a job that is working on the run changes it."""
        self._files.load()
        self._cache.clear()

    def correlations(self, layer: int | None = None) -> pl.LazyFrame:
        """Return the correlations of every neuron, or of those of `layer`, with every metric over every population.

        Raises:
            InputError: the run has no correlations yet, or those of a layer are missing.
        """
        self.require("correlations")
        expected = [correlations_name(layer.layer) for layer in self.record.neurons]
        stored = set(self.folder.names("correlations", ".parquet"))
        missing = [name for name in expected if name not in stored]
        if missing:
            raise InputError(f"the run at {self.uri} lacks {missing[0]}: its correlations are incomplete")
        return scan(self.uri, expected if layer is None else [correlations_name(layer)])

    def examples(self) -> pl.LazyFrame:
        """Return the test examples as they were evaluated."""
        self.require("examples")
        return scan_folder(self._prompt_uris()[0], "examples", "part-")

    def scores(self) -> pl.LazyFrame:
        """Return the model-derived metrics of every test example."""
        self.require("scores")
        return self._over_prompts(lambda uri: scan_folder(uri, "shards", "scores-"))

    def sums(self) -> pl.LazyFrame:
        """Return the sums of every shard."""
        self.require_sums()
        return self._over_prompts(scan_sums)

    def tuning(self) -> pl.LazyFrame:
        """Return the tuning curve: step, split, loss, accuracy.

        Raises:
            InputError: the run did not tune its prompt, or has not done so yet.
        """
        self.require("tuning curve")
        if not any(RunFiles(uri).folder.exists(TUNING_NAME) for uri in self._prompt_uris()):
            raise InputError(f"the run at {self.uri} has no tuning curve: its soft prompt was not tuned in it")
        return self._over_prompts(lambda uri: scan(uri, [TUNING_NAME]))

    def strongest(self) -> pl.LazyFrame:
        """Return the rows with the 1,000 largest |r| of each metric and population."""
        self.require("correlations")
        has_predictivity = self.record.job_spec.statistic == PREDICTIVITY
        return self._read_cached(TOP_NAME, CORRELATIONS_PREDICTIVITY if has_predictivity else CORRELATIONS)

    def null_maxima(self) -> pl.LazyFrame | None:
        """Return the largest |r| of each null metric in the model, over `all` and within groups; None in older runs."""
        return self._read_cached(NULL_MAXIMA_NAME, NULL_MAXIMA) if self.folder.exists(NULL_MAXIMA_NAME) else None

    def best(self) -> pl.LazyFrame:
        """Return, with `--tokens each`, the best token of each neuron; its p is multiplied by the number of tokens."""
        self.require("correlations")
        if not self.folder.exists(BEST_NAME):
            raise InputError(f"the run at {self.uri} has no best tokens: it was not made with --tokens each")
        return scan(self.uri, [BEST_NAME])

    def activations(self) -> pl.LazyFrame:
        """Return the activations of the top neurons of each metric over examples of half 1."""
        self.require("activations")
        return self._over_prompts(lambda uri: scan(uri, [ACTIVATIONS_NAME]))

    def vocabulary(self) -> pl.LazyFrame:
        """Return the tokens whose logits the top neurons raise and lower most, computed from the weights alone."""
        self.require("vocabulary")
        return self._over_prompts(lambda uri: scan(uri, [VOCABULARY_NAME]))

    def ablation(self) -> pl.LazyFrame:
        """Return what silencing neurons did: a row for each set and group of each ablation."""
        self._require(ABLATION_NAME, "ablate")
        return self._read_cached(ABLATION_NAME, ABLATION)

    def ablation_scores(self) -> pl.LazyFrame:
        """Return the scores of every example with each set of each ablation."""
        self._require(ABLATION_NAME, "ablate")
        return scan(self.uri, [ABLATION_SCORES_NAME])

    def shortcut_rows(self) -> pl.LazyFrame:
        """Return which properties neurons follow: a row for each neuron and property of each search for shortcuts."""
        self._require(SHORTCUTS_NAME, "shortcuts")
        return self._read_cached(SHORTCUTS_NAME, SHORTCUTS)

    def effect_table(self) -> pl.LazyFrame:
        """Return what setting each neuron to its mean would do, to first order: a row for each neuron and group."""
        self._require(EFFECTS_NAME, "effects")
        return scan(self.uri, [EFFECTS_NAME])

    def effect_null_maxima(self) -> pl.LazyFrame:
        """Return the largest consistency of effects in the model with each draw of random signs."""
        self._require(EFFECTS_NAME, "effects")
        return self._read_cached(EFFECTS_NULL_NAME, EFFECTS_NULL)

    def metrics(self) -> pl.LazyFrame:
        """Return the name, kind and reference of each metric, and whether it is nullable."""
        self.require("metrics")
        return self._read_cached(METRICS_NAME, METRICS)

    def require(self, table: str) -> None:
        """Check that a table, a key of `skilljobs.store.made_tables.MADE_BY`, is made.

        Raises:
            InputError: it is not yet; says whether a job works on the run, as far as that is known.
        """
        if not is_made(self._files, self.record, table):
            raise InputError(f"the run at {self.uri} has no {table} yet: {self.way_on()}")

    def require_sums(self) -> None:
        """Check that the sums of the shards are there.

        Raises:
            InputError: they are not yet, or not any more.
        """
        self.require("sums")
        if self.record.sums_dropped:
            raise InputError(f"the run at {self.uri} cannot do that any more: {SUMS_DROPPED}")

    def way_on(self) -> str:
        """Return how an incomplete run is completed."""
        return "submit it again to resume it"

    def _require(self, name: str, command: str) -> None:
        if not self.folder.exists(name):
            raise InputError(f"the run at {self.uri} has no {name}: `skilljobs {command}` makes it")

    def prompts(self) -> "list[RunReader]":
        """Return the runs of the soft prompts that have been started.

        A run with one soft prompt returns itself.
        """
        uris = self._prompt_uris()
        return [self] if uris == [self.uri] else [RunReader(uri) for uri in uris if RunFiles(uri).exists]

    def layout(self) -> Layout:
        """Return the metrics and populations of the run's sums."""
        return self.cached("layout", self._read_layout)

    def _read_layout(self) -> Layout:
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

    def cached(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the run. It is kept under `key` until the run is reloaded."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def _read_cached(self, name: str, schema: pa.Schema) -> pl.LazyFrame:
        """Read a table that is used often and cache it, because each read from object storage takes many requests."""
        return self.cached(name, lambda: read_table(self.uri, name, schema)).lazy()

    def _over_prompts(self, scan: Callable[[str], pl.LazyFrame]) -> pl.LazyFrame:
        """Return a table of all soft prompts, with a column `prompt` if there are several."""
        frames = [scan(uri) for uri in self._prompt_uris()]
        if len(frames) == 1:
            return frames[0]
        return pl.concat([frame.with_columns(prompt=pl.lit(number, pl.Int16)) for number, frame in enumerate(frames)])

    def _prompt_uris(self) -> list[str]:
        count = self.record.job_spec.prompts
        return [self.uri] if count == 1 else [prompt_uri(self.uri, number) for number in range(count)]
