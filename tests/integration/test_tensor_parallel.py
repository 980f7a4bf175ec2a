"""Several ranks that hold one model together: the same numbers as one process, and the same bits whatever dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import LlamaConfig

import skilljobs
from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.schema import NEURON_KEY
from skilljobs.store.shards import read_receipt
from tests.cluster.test_shared_scorers import processes_of_scorers
from tests.integration.machines import wait_for
from tests.integration.test_hung_scorer import Details
from tests.shared_models import SHAREABLE, SIZES, save_random
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SOAK = pytest.mark.skipif("SOAK" not in os.environ, reason="read without Ray in tests/lm/test_ranks.py; SOAK=1")
KEY = [*NEURON_KEY, "metric", "population"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(240)))


def submit(out: Path, data: str, model: Path, ranks: int, **options: Any) -> skilljobs.Run:
    usual = {"prompt_length": 2, "null": 2, "shard_size": 8, "report": False, "soft_prompt": "random"}
    return skilljobs.submit(
        data=data, model=str(model), out=str(out), tensor_parallel=ranks, replicas=1, **{**usual, **options}
    )


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with two key-value heads that takes a while for a shard."""
    wide = {"hidden_size": 1024, "intermediate_size": 1536, "num_attention_heads": 8}
    return save_random(tmp_path_factory.mktemp("models") / "wide", LlamaConfig(**{**SIZES, **wide}))


def largest_difference(one: skilljobs.Run, two: skilljobs.Run) -> float:
    """Of the correlations of two runs, which must be of the same neurons and null for the same ones."""
    tables = [run.correlations().sort(KEY, nulls_last=True).collect() for run in (one, two)]
    assert tables[0].select(KEY).equals(tables[1].select(KEY))
    assert tables[0]["r"].is_null().equals(tables[1]["r"].is_null())
    return float((tables[0]["r"] - tables[1]["r"]).abs().max())  # type: ignore[arg-type]


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    "name",
    [
        "phi3",
        pytest.param("llama", marks=SOAK),
        pytest.param("qwen2_moe", marks=SOAK),
    ],
)
def test_ranks_find_the_correlations_of_one_process(tmp_path: Path, data: str, name: str) -> None:
    model = save_random(tmp_path / "model", SHAREABLE[name]())
    one, two = (submit(tmp_path, data, model, ranks, tokens="each", run_id=str(ranks)) for ranks in (1, 2))
    assert largest_difference(one, two) < 1e-5
    sums = [run.sums().select("population", *NEURON_KEY).collect() for run in (one, two)]
    assert len(sums[0]) == len(sums[1]) == sums[1].unique().height * len(two.record.shards)
    traced = [run.activations().collect() for run in (one, two)]
    both = traced[0].join(traced[1], on=["example_id", *NEURON_KEY], nulls_equal=True)
    assert len(both) > 0
    assert (both["activation"] - both["activation_right"]).abs().max() < 1e-4  # type: ignore[operator]
    receipt = read_receipt(Folder(two.uri), 0)
    assert receipt is not None
    ranks = (0,) if name == "phi3" else (0, 1)  # each rank sees all neurons of Phi-3
    assert {file for file in receipt.files if "sums" in file} == {f"shards/sums-00000.r{k}.parquet" for k in ranks}
    with pytest.raises(InputError, match=r"tensor_parallel.* 2.* 1"):
        submit(tmp_path, data, model, 1, tokens="each", run_id="2")


def test_a_killed_rank_takes_the_others_along_and_costs_no_bit(
    ray_here: Callable[[], None], tmp_path: Path, data: str, wide_model: Path
) -> None:
    ray_here()
    one = submit(tmp_path, data, wide_model, 1, run_id="one")
    quiet = submit(tmp_path / "quiet", data, wide_model, 2, run_id="of-ranks")
    assert largest_difference(one, quiet) < 1e-5
    ranks, killed = processes_of_scorers(), list[int]()

    def kill_one() -> None:
        killed.append(max(ranks))
        os.kill(killed[0], signal.SIGKILL)

    disturbed = Details(after_three=kill_one)
    run = submit(tmp_path / "disturbed", data, wide_model, 2, run_id="of-ranks", reporter=disturbed)
    notes = "\n".join(disturbed.notes)
    assert len(ranks) == 2
    assert killed
    assert "scorer-1 takes its place" in notes
    assert "scorer-2" not in notes
    assert ", 1 retried" in notes
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in ranks))
    for layer in Path(quiet.uri, "correlations").iterdir():
        assert Path(run.uri, "correlations", layer.name).read_bytes() == layer.read_bytes()
