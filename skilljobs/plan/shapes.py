"""Which external columns each of many examples has, without the examples."""

import numpy as np
from numpy.typing import NDArray

from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn

Shape = tuple[ExternalColumn, ...]


class Shapes:
    """The external columns of examples, in the order in which each example has them."""

    def __init__(self) -> None:
        self._codes: dict[Shape, int] = {}
        self._of_chunks: list[NDArray[np.int32]] = []

    def add(self, chunk: Chunk) -> None:
        """Add the examples of a chunk."""
        codes = [self._codes.setdefault(shape, len(self._codes)) for shape in chunk.shapes]
        known = np.array(codes, np.int32)
        self._of_chunks.append(known if len(codes) == len(chunk) else np.broadcast_to(known, len(chunk)))

    def __contains__(self, column: str) -> bool:
        """Whether an example has an external column of this name."""
        return any(source.column == column for shape in self._codes for source in shape)

    def columns(self, rows: NDArray[np.int64]) -> list[ExternalColumn]:
        """The external columns of the examples `rows`, in the order of their first appearance among these."""
        shapes = list(self._codes)
        if len(shapes) > 1:
            codes, first = np.unique(self._all_codes()[rows], return_index=True)
            shapes = [shapes[code] for code in codes[np.argsort(first)]]
        return list(dict.fromkeys(source for shape in shapes for source in shape)) if len(rows) else []

    def take(self, rows: NDArray[np.int64]) -> "Shapes":
        """The external columns of the examples `rows`, in that order."""
        taken = Shapes()
        taken._codes = self._codes
        if len(self._codes) > 1:
            taken._of_chunks = [self._all_codes()[rows]]
        return taken

    def _all_codes(self) -> NDArray[np.int32]:
        if len(self._of_chunks) > 1:
            self._of_chunks = [np.concatenate(self._of_chunks)]
        return self._of_chunks[0]
