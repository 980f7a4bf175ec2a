"""Which external columns each of many examples has, without the examples."""

import numpy as np

from skilljobs.plan.row_sets import RowSet
from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn

Shape = tuple[ExternalColumn, ...]


class Shapes:
    """The external columns of examples, in the order in which each example has them."""

    def __init__(self) -> None:
        self._codes: dict[Shape, int] = {}
        self._of_rows = SpilledColumn(np.int32)

    def add(self, chunk: Chunk) -> None:
        """Add the examples of a chunk."""
        codes = [self._codes.setdefault(shape, len(self._codes)) for shape in chunk.shapes]
        known = np.array(codes, np.int32)
        self._of_rows.append(known if len(codes) == len(chunk) else np.broadcast_to(known, len(chunk)))

    def __contains__(self, column: str) -> bool:
        """Whether an example has an external column of this name."""
        return any(source.column == column for shape in self._codes for source in shape)

    def columns(self, rows: RowSet, ranks: SpilledColumn[np.int32] | None = None) -> list[ExternalColumn]:
        """The external columns of the examples `rows`, in the order of their first appearance among these.

        The examples are in the order of the rows, or in that of the rank of each row if `ranks` are given.
        """
        shapes = list(self._codes)
        if len(shapes) > 1:
            first: dict[int, int] = {}
            for start, codes in self._of_rows.blocks():
                places = rows.within(start, start + len(codes))
                rank = start + places if ranks is None else ranks[start : start + len(codes)][places]
                order = np.argsort(rank, kind="stable")
                found, firsts = np.unique(codes[places][order], return_index=True)
                for code, at in zip(found.tolist(), rank[order][firsts].tolist(), strict=True):
                    first[code] = min(at, first.get(code, at))
            shapes = [shapes[code] for code in sorted(first, key=lambda code: first[code])]
        return list(dict.fromkeys(source for shape in shapes for source in shape)) if len(rows) else []

    @property
    def only(self) -> Shape | None:
        """The shape of all examples; None if there are several."""
        return next(iter(self._codes)) if len(self._codes) == 1 else None
