"""The sums that several ranks wrote of a layer, put together again: each neuron once, or an error."""

import numpy as np
import pyarrow as pa
import pytest

from skilljobs.errors import InputError
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.references import REFERENCE_NAME, reference_bytes, rows_in_order

LAYER = LayerNeurons(3, 2, (4, 7), 2)
TOKENS, POPULATIONS = 3, 2


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder(str(tmp_path_factory.mktemp("run")))
    made.write(REFERENCE_NAME, reference_bytes([np.zeros((TOKENS, LAYER.count))], [LAYER], True))
    return made


def part(*places: int) -> pa.Table:
    return pa.table(neuron_columns(LAYER, TOKENS, POPULATIONS, np.array(places, np.int64)))


def test_the_neurons_of_all_ranks_come_in_the_order_of_the_run(folder: Folder) -> None:
    parts = [part(0, 1, 3, 5), part(2, 4)]
    order = rows_in_order(folder, 0, parts, POPULATIONS)
    values = [np.add.outer(100 * np.arange(TOKENS), places).ravel() for places in ([0, 1, 3, 5], [2, 4])]
    assert (
        np.concatenate(values)[order].tolist() == np.add.outer(100 * np.arange(TOKENS), np.arange(6)).ravel().tolist()
    )


@pytest.mark.parametrize("places", [(2,), (2, 4, 5), (2, 5), ()])
def test_a_neuron_that_is_missing_or_there_twice_is_an_error(folder: Folder, places: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not hold each of its neurons once"):
        rows_in_order(folder, 0, [part(0, 1, 3, 5), part(*places)], POPULATIONS)
