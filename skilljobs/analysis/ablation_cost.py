"""What an ablation will cost, from what the run itself took."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.checkpoints.safetensors_header import read_header
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.store.reader import RunReader
from skilljobs.store.run import PROMPT_NAME

BYTES_PER_SCORE = 30
"""Of a row of scores in a shard, compressed, as measured."""


@dataclass(frozen=True)
class Cost:
    """Sets of neurons, examples that each is scored on, tokens that the model reads, bytes and seconds."""

    sets: int
    examples: int
    tokens: int
    bytes: int
    seconds: float


def ablation_cost(readers: Sequence[RunReader], spec: AblationSpec, sets: int) -> Cost:
    """The cost of an ablation with `sets` sets on the runs of each soft prompt.

    Seconds are those of the scorers' work at the speed, and with the number of scorers, at which the shards of the run
    were collected; loading the model comes on top.
    """
    examples = tokens = 0
    seconds = 0.0
    for reader in readers:
        record = reader.record
        by_half = (
            reader.scores()
            .group_by("half")
            .agg(pl.len().alias("examples"), pl.col("text_tokens").sum().alias("text"))
            .collect()
        )
        counts = {row[0]: row[1:] for row in by_half.iter_rows()}
        (first, first_text), (second, second_text) = counts.get(0, (0, 0)), counts.get(1, (0, 0))
        total = record.tokens or 0
        behind = total - first_text - second_text  # prompt and answers
        per_example = behind / max(1, first + second)
        read = second * per_example * sets + second_text * (sets if spec.at == "all" else 1)
        if spec.rule.baseline == "mean":
            read += first_text + first * per_example
        if spec.rule.baseline == "resample":
            read += second_text + second * prompt_length(reader)
        tokens += round(read)
        examples += second
        seconds += read * record.stages["collect"].seconds / max(1, total)
    return Cost(sets, examples, tokens, 2 * BYTES_PER_SCORE * sets * examples, seconds)


def prompt_length(run: RunReader) -> int:
    """The positions of the soft prompt of a run of one."""
    header = read_header(run.folder.read(PROMPT_NAME))
    return next(int(entry["shape"][0]) for entry in header.values() if "shape" in entry)
