"""Draws the worked examples in front of every text, from the examples to tune on."""

from itertools import islice

import numpy as np

from skilljobs.errors import InputError
from skilljobs.plan.row_reader import RowReader, RowView
from skilljobs.plan.row_sets import RowSet
from skilljobs.spill.buckets import HashOrder
from skilljobs.tasks.base import Example
from skilljobs.tasks.example_chunks import SPLIT_CODES, hashes
from skilljobs.tasks.few_shot import Shots

FEWEST_LOOKED_AT = 64


def draw_shots(reader: RowReader, count: int, seed: int) -> Shots:
    """Draw `count` examples of the split `train`, by a hash of their ids and of `seed`.

    An example whose text is also that of a validation or test example is not drawn, nor is a text drawn twice. As a
    unit is in one split only, nothing of a unit that is tested is drawn.

    Raises:
        InputError: there are not enough examples.
    """
    train = reader.rows_of("train")
    order = HashOrder(len(train), np.int64)
    for places, chunk in reader.numbered_chunks(train):
        order.add(hashes(chunk.ids(), "shot", seed), places)
    in_order = (row for (block,) in order.blocks() for row in block.tolist())
    drawn: list[Example] = []
    looked_at = max(FEWEST_LOOKED_AT, 8 * count)
    known: set[str] = set()
    while len(drawn) < count and (rows := list(islice(in_order, looked_at))):
        in_row_order = np.sort(rows)
        by_row = dict(zip(in_row_order.tolist(), RowView(reader, RowSet.of(in_row_order)), strict=True))
        known |= _texts_of_others(reader, {example.text for example in by_row.values()})
        for row in rows:
            if len(drawn) < count and by_row[row].text not in known:
                drawn.append(by_row[row])
                known.add(by_row[row].text)
        looked_at *= 8
    if len(drawn) < count:
        raise InputError(f"--few-shot {count} needs as many train examples of different texts; there are {len(drawn)}")
    return Shots(tuple(drawn))


def _texts_of_others(reader: RowReader, texts: set[str]) -> set[str]:
    """Those of `texts` that are also the text of a validation or test example."""
    found: set[str] = set()
    for chunk in reader.examples.blocks():
        others = chunk.take(np.flatnonzero(chunk.splits != SPLIT_CODES["train"]))
        found |= texts.intersection(others.strings("text"))
    return found
