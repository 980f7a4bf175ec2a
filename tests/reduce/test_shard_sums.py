"""From batches through files to r, against exact arithmetic: shards of any size in any order, nulls everywhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.reduce.shard_sums import read_layer, read_totals
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.sums import ShardSums
from skilljobs.store.files import Folder
from skilljobs.store.references import REFERENCE_NAME, reference_bytes
from skilljobs.store.shards import (
    Receipt,
    moments_file,
    moments_name,
    scores_file,
    scores_name,
    sha256,
    sums_file,
    sums_name,
)
from skilljobs.worker.accumulator import SumsAccumulator
from tests.exact import exact_r

Array = NDArray[np.float64]
LAYOUT = Layout(
    (Metric("whole", "external", False), Metric("holed", "external", True), Metric("empty", "external", True)),
    (ALL, "g=0", "g=1", "g=2"),
    {"g": ("g=0", "g=1", "g=2")},
)
NEURONS = 3


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=2, max_size=9).filter(lambda sizes: sum(sizes) >= 8),
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
    offset=st.sampled_from([0.0, 3.0, 1000.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_r_of_files_equals_exact_arithmetic(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], dtype: torch.dtype, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    activations = torch.from_numpy(rng.normal(offset, 2.0, (rows, 1, NEURONS))).to(dtype)
    activations[:, :, 2] = activations[0, 0, 2]
    values = np.stack([rng.normal(size=rows), rng.integers(0, 2, rows), np.full(rows, np.nan)], 1)
    values[rng.random(rows) < 0.4, 1] = np.nan
    group = rng.integers(0, 3, rows)
    members = np.stack([np.ones(rows, bool), *(group == g for g in range(3))], 1)
    folder = Folder(str(tmp_path_factory.mktemp("totals")))
    reference = activations[: max(1, sizes[0])].double().mean(0)
    folder.write(REFERENCE_NAME, reference_bytes([reference.numpy()], [LayerNeurons(0, NEURONS)], False))
    starts = np.cumsum([0, *sizes])
    for shard in rng.permutation(len(sizes)).tolist():
        here = rng.permutation(np.arange(starts[shard], starts[shard + 1]))
        accumulator = SumsAccumulator(LAYOUT, [reference], torch.zeros(3))
        for batch in np.array_split(here, 2):
            accumulator.add(
                [activations[batch].double()], torch.from_numpy(values[batch]), torch.from_numpy(members[batch])
            )
        sums = accumulator.result()
        folder.write(sums_name(shard), sums_file(sums, LAYOUT, [LayerNeurons(0, NEURONS)], None))
        folder.write(moments_name(shard), moments_file(sums, LAYOUT))

    half = len(sizes) // 2
    halves = (tuple(range(half)), tuple(range(half, len(sizes))))
    whole, of_halves = read_totals(folder, halves, 0, LAYOUT)
    exact = activations[:, 0].double().numpy()
    parts = [(whole, slice(0, rows)), (of_halves[0], slice(0, starts[half])), (of_halves[1], slice(starts[half], rows))]
    for totals, part in parts:
        assert totals is not None
        for place, metric in enumerate(LAYOUT.metrics):
            for population in LAYOUT.reported_populations:
                inside = np.ones(rows, bool) if population in (ALL, "within:g") else group == int(population[-1])
                groups = group if population == "within:g" else np.zeros(rows, np.int64)
                y = np.where(inside, values[:, place], np.nan)
                found = totals.centred(metric.name, population)
                assert found.n == (~np.isnan(y[part])).sum()
                for neuron, r in enumerate(found.r().tolist()):
                    expected = exact_r(exact[part, neuron], y[part], groups[part])
                    if expected is None or found.degrees_of_freedom < 0:
                        assert np.isnan(r)
                    else:
                        assert r == pytest.approx(expected, abs=1e-10)
                        assert -1 <= r <= 1


def test_the_sums_of_a_shard_may_be_in_files_of_several_ranks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second rank has no neuron of the first layer."""
    folder, layout = Folder(str(tmp_path_factory.mktemp("ranks"))), Layout(LAYOUT.metrics[:1], (ALL,), {})
    neurons = [LayerNeurons(0, NEURONS), LayerNeurons(1, NEURONS)]
    places = [[np.arange(NEURONS), np.array([0, 2])], [np.arange(0), np.array([1])]]
    activations = [torch.arange(12.0).reshape(4, 1, NEURONS).double() ** power for power in (1, 2)]
    zeros = np.zeros((1, NEURONS))
    folder.write(REFERENCE_NAME, reference_bytes([zeros, zeros], neurons, False))
    values, members = torch.arange(4.0)[:, None].double(), torch.ones(4, 1, dtype=torch.bool)

    def sums_of(columns: list[NDArray[np.int64]]) -> ShardSums:
        parts = [layer[..., torch.from_numpy(column)] for layer, column in zip(activations, columns, strict=True)]
        accumulator = SumsAccumulator(layout, [torch.zeros_like(part[0]) for part in parts], torch.zeros(1))
        accumulator.add(parts, values, members)
        return accumulator.result()

    files = {moments_name(0): moments_file(sums_of(places[0]), layout)}
    for rank, columns in enumerate(places):
        files[sums_name(0, rank=rank)] = sums_file(sums_of(columns), layout, neurons, None, columns)
    for name, data in files.items():
        folder.write(name, data)
    digests = {name: sha256(data) for name, data in files.items()}
    receipt = Receipt(0, 0, "print", 0, 0, 0, 0, 0.0, True, 0, digests)
    folder.write(scores_name(0), scores_file([], [], {}, receipt))
    for number, layer in enumerate(activations):
        read = read_layer(folder, [0], number, layout)
        assert read is not None
        assert read.column("sum_a", 0).tolist() == layer.sum((0, 1)).tolist()
        assert read.column("sum_ay:whole", 0).tolist() == (layer * values[:, None]).sum((0, 1)).tolist()
    folder.write(scores_name(0), scores_file([], [], {}, replace(receipt, files=dict(list(digests.items())[:2]))))
    with pytest.raises(InputError, match="do not hold each of its neurons once"):
        read_layer(folder, [0], 1, layout)
