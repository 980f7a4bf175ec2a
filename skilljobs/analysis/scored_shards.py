"""The examples of a run with their scores, one shard after another: all of them may not fit in memory."""

from collections.abc import Iterator, Sequence

import polars as pl

from skilljobs.store.attempts import shard_of
from skilljobs.store.reader import RunReader
from skilljobs.store.scanning import scan
from skilljobs.store.shards import examples_name, scores_name


def example_frames(run: RunReader, columns: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
    """The test examples of each scored shard, or `columns` of them."""
    for shard in _scored(run):
        yield _selected(scan(run.prompts()[0].uri, [examples_name(shard)]), columns)


def scored_frames(run: RunReader, columns: Sequence[str], scores: Sequence[str]) -> Iterator[list[pl.DataFrame]]:
    """Of each shard: `columns` of the examples that have a score beside `scores`, a frame for each soft prompt.

    Both have `example_id`.
    """
    prompts = run.prompts()
    for shard, examples in zip(_scored(run), example_frames(run, ["example_id", *columns]), strict=True):
        yield [
            _selected(scan(prompt.uri, [scores_name(shard)]), ["example_id", *scores]).join(
                examples, on="example_id", how="inner", maintain_order="left"
            )
            for prompt in prompts
        ]


def _scored(run: RunReader) -> list[int]:
    """The numbers of the shards that have scores with all soft prompts."""
    run.require("scores")
    each = [
        {shard_of(name) for name in prompt.folder.names("shards", ".parquet") if name.startswith("shards/scores-")}
        for prompt in run.prompts()
    ]
    return sorted(set.intersection(*each))


def _selected(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.DataFrame:
    return (frame.select(columns) if columns else frame).collect()
