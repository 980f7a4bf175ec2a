"""What a search for shortcuts will cost, from what the run itself took."""

from collections.abc import Iterator, Sequence

import polars as pl

from skilljobs.analysis.ablation_cost import BYTES_PER_SCORE, prompt_length
from skilljobs.analysis.half_examples import shards_up_to
from skilljobs.analysis.neurons_in_question import neurons_in_question
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.store.reader import RunReader


def cost_lines(readers: Sequence[RunReader], spec: ShortcutsSpec, search: str) -> Iterator[str]:
    """Sentences about the tokens, seconds and bytes of a search on the runs of each soft prompt.

    How many properties are followed is not known before, so that what silencing costs is said for one set.
    """
    for reader in readers:
        record = reader.record
        scores = reader.scores().select("half", "text_tokens").collect()
        total = record.tokens or 0
        behind = (total - int(scores["text_tokens"].sum())) / max(1, len(scores))
        text = total / max(1, len(scores)) - behind
        length = prompt_length(reader)
        counts = [_count(reader, half, spec.limit) for half in (0, 1)]
        per_set = counts[1] * (behind + (text if spec.at == "all" else 0))
        traced = sum(counts) * (text + length)
        neurons = len(neurons_in_question(reader, spec, length))
        speed = record.stages["collect"].seconds / max(1, total)
        fixed = traced + (1 + neurons) * per_set
        where = f"shortcuts/{search} in {reader.uri}"
        yield f"{where}: {neurons} neurons, {counts[0]} and {counts[1]} examples of the halves"
        yield f"  {fixed:,.0f} tokens, about {fixed * speed:,.0f} s at the speed of the run, and loading the model"
        yield (
            f"  for each set of neurons that follow a property: {per_set:,.0f} tokens, about {per_set * speed:,.1f} s;"
            f" if silencing it lowers the lead, {spec.draws} times that for random sets"
        )
        if spec.data is not None:
            yield f"  the examples of {spec.data}, at most {2 * spec.limit:,}, are read and silenced likewise on top"
        size = BYTES_PER_SCORE * counts[1] / 1e6
        yield f"  about {size * (1 + neurons):,.1f} MB, and {size * (1 + spec.draws):,.1f} MB for each such set"


def _count(reader: RunReader, half: int, limit: int) -> int:
    shards = shards_up_to(reader, half, limit)
    of_half: int = reader.scores().filter(pl.col("half") == half).select(pl.len()).collect().item()
    return round(of_half * len(shards) / max(1, len(reader.record.halves[half])))
