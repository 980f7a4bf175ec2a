"""Several ranks that hold one model together: the same numbers as one process, and the same bits whatever dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import torch
from transformers import (
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
)
from transformers import AutoModelForCausalLM as CausalLM

import skilljobs
from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.schema import NEURON_KEY
from skilljobs.store.shards import read_receipt
from tests.cluster.test_shared_scorers import processes_of_scorers
from tests.integration.machines import wait_for
from tests.integration.test_hung_scorer import Details
from tests.models import save
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.slow]

KEY = [*NEURON_KEY, "metric", "population"]
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": None,
}  # fmt: skip
MODELS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "phi3": Phi3Config(**SIZES, pad_token_id=0),
    "qwen2_moe": Qwen2MoeConfig(
        **SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40
    ),
}


def save_random(path: Path, config: PreTrainedConfig) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    config.vocab_size, config.eos_token_id = len(tokenizer), tokenizer.eos_token_id
    torch.manual_seed(0)
    model: PreTrainedModel = CausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.5 / weight.shape[-1] ** 0.5)
    return save(model, path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(240)))


def submit(out: Path, data: str, model: Path, ranks: int, **options: Any) -> skilljobs.Run:
    usual = {"prompt_length": 2, "null": 2, "shard_size": 16, "report": False, "run_id": f"of-{ranks}"}
    return skilljobs.submit(
        data=data, model=str(model), out=str(out), tensor_parallel=ranks, replicas=1, **{**usual, **options}
    )


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("name", MODELS)
def test_ranks_find_the_correlations_of_one_process(tmp_path: Path, data: str, name: str) -> None:
    model = save_random(tmp_path / "model", MODELS[name])
    one = submit(tmp_path, data, model, 1, soft_prompt="random", tokens="each")
    two = submit(tmp_path, data, model, 2, soft_prompt="random", tokens="each")
    tables = [run.correlations().sort(KEY, nulls_last=True).collect() for run in (one, two)]
    assert tables[0].select(KEY).equals(tables[1].select(KEY))
    assert tables[0]["r"].is_null().equals(tables[1]["r"].is_null())
    assert (tables[0]["r"] - tables[1]["r"]).abs().max() < 1e-5
    sums = two.sums().select(["population", *NEURON_KEY]).collect()
    assert len(sums) == len(one.sums().collect())
    assert sums.unique().height * len(two.record.shards) == len(sums), "each neuron is in each shard's sums once"
    traced = [run.activations().collect().sort("example_id", *NEURON_KEY) for run in (one, two)]
    shared = traced[0].join(traced[1], on=["example_id", *NEURON_KEY], nulls_equal=True)
    assert len(shared) > 0
    assert (shared["activation"] - shared["activation_right"]).abs().max() < 1e-4
    receipt = read_receipt(Folder(two.uri), 0)
    assert receipt is not None
    expected = {"shards/sums-00000.r0.parquet"} | ({"shards/sums-00000.r1.parquet"} if name != "phi3" else set())
    assert {file for file in receipt.files if "sums" in file} == expected


@pytest.mark.usefixtures("ray_here")
def test_ranks_tune_the_prompt_of_one_process(tmp_path: Path, data: str) -> None:
    model = save_random(tmp_path / "model", MODELS["llama"])
    prompts = [submit(tmp_path, data, model, ranks, tune_steps=25).soft_prompt() for ranks in (1, 2)]
    torch.testing.assert_close(prompts[1], prompts[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("victim", [min, max])
def test_a_killed_rank_takes_the_others_along_and_costs_no_bit(
    ray_here: Callable[[], None], tmp_path: Path, data: str, wide_llama: Path, victim: Callable[[set[int]], int]
) -> None:
    ray_here()
    earlier, killed, of_first = processes_of_scorers(), list[int](), set[int]()

    def kill_one() -> None:
        of_first.update(processes_of_scorers() - earlier)
        killed.append(victim(of_first))
        os.kill(killed[0], signal.SIGKILL)

    quiet = submit(tmp_path / "quiet", data, wide_llama, 2, soft_prompt="random")
    ray_here()
    disturbed = Details(after_three=kill_one)
    run = submit(tmp_path / "disturbed", data, wide_llama, 2, soft_prompt="random", reporter=disturbed)
    notes = "\n".join(disturbed.notes)
    assert len(of_first) == 2
    assert "scorer-1 takes its place" in notes
    assert "scorer-2" not in notes
    assert ", 1 retried" in notes
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in of_first))
    for layer in Path(quiet.uri, "correlations").iterdir():
        assert Path(run.uri, "correlations", layer.name).read_bytes() == layer.read_bytes()


@pytest.mark.usefixtures("ray_here")
def test_a_neuron_that_is_not_finite_on_one_rank_leaves_the_sums_of_all(tmp_path: Path, data: str) -> None:
    path = save_random(tmp_path / "model", MODELS["llama"])
    model = CausalLM.from_pretrained(path)
    up = model.model.layers[1].mlp.up_proj.weight
    with torch.no_grad():
        up[-1] = 3e38 * up[-1].sign()  # overflows for some examples; the neuron is the second rank's
    save(model, path)
    found = [
        submit(tmp_path, data, path, ranks, soft_prompt="random", max_bad_rows=1.0).record.set_aside
        for ranks in (1, 2)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("tiny", "attention heads, which 3 does not divide|key-value heads, which 3 does not divide"),
        ("gpt2", "transformers has no plan for sharing a GPT2LMHeadModel among ranks"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_starts(
    tmp_path: Path, data: str, model: str, reason: str
) -> None:
    path = Path("tiny")
    if model == "gpt2":
        path = save_random(tmp_path / "model", GPT2Config(n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(InputError, match=reason):
        submit(tmp_path, data, path, 3 if model == "tiny" else 2)
    assert not (tmp_path / "of-2").exists()


@pytest.mark.usefixtures("ray_here")
def test_a_run_is_resumed_with_as_many_ranks(tmp_path: Path, data: str) -> None:
    model = save_random(tmp_path / "model", MODELS["llama"])
    run = submit(tmp_path, data, model, 2, soft_prompt="random", run_id="mine")
    assert run.record.numerics is not None
    with pytest.raises(InputError, match=r"tensor_parallel.*2.*1"):
        submit(tmp_path, data, model, 1, soft_prompt="random", run_id="mine")
    Path(run.uri, "shards", "sums-00001.r1.parquet").unlink()
    Path(run.uri, "correlations", "layer-000.parquet").unlink()
    with pl.Config():
        again = submit(tmp_path, data, model, 2, soft_prompt="random", run_id="mine")
    assert len(again.correlations().collect()) > 0
