"""The examples of a run with their scores: those of one shard after another, as all may not fit in memory, or some."""

from collections.abc import Iterator, Sequence

import polars as pl

from skilljobs.store.attempts import shard_of
from skilljobs.store.reader import RunReader
from skilljobs.store.scanning import scan
from skilljobs.store.shards import examples_name, scores_name


def scored_shards(
    run: RunReader, columns: Sequence[str] = (), scores: Sequence[str] = ()
) -> Iterator[tuple[pl.DataFrame, Iterator[pl.DataFrame]]]:
    """Of each scored shard: its test examples, and for each soft prompt those that have scores, beside `scores`.

    The latter are read when they are asked for. `columns`: of the examples, all by default. Both have `example_id`.
    """
    run.require("scores")
    prompts = run.prompts()
    scored = [
        {shard_of(name) for name in prompt.folder.names("shards", ".parquet") if name.startswith("shards/scores-")}
        for prompt in prompts
    ]
    for shard in sorted(set.intersection(*scored)):
        every = scan(prompts[0].uri, [examples_name(shard)])
        examples = (every.select("example_id", *columns) if columns else every).collect()
        yield examples, _with_scores(prompts, shard, scores, examples)


def _with_scores(
    prompts: Sequence[RunReader], shard: int, scores: Sequence[str], examples: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    for prompt in prompts:
        found = scan(prompt.uri, [scores_name(shard)]).select("example_id", *scores).collect()
        yield found.join(examples, on="example_id", how="inner", maintain_order="left")


def examples_with_scores(run: RunReader, ids: pl.DataFrame) -> pl.DataFrame:
    """The stored rows of examples with their scores, in the order of `ids`, a frame of `example_id` alone."""
    for frame in (run.examples(), run.scores().drop("half")):
        rows = frame.join(ids.lazy().select("example_id"), on="example_id", how="semi").collect(engine="streaming")
        ids = ids.join(rows, on="example_id", how="left", maintain_order="left")
    return ids
