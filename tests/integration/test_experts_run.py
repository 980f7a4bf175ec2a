"""A whole job on a mixture of experts: every r against numpy on plain passes, and every command that names a neuron."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from transformers import AutoTokenizer, Qwen2MoeConfig, Qwen2MoeForCausalLM

import skilljobs
from skilljobs.analysis.neuron_card import Cards
from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.stats.neurons import NeuronName
from tests.models import save
from tests.neurons.test_experts import Oracle, frozen
from tests.tables import random_rows, write_jsonl

pytestmark = pytest.mark.ray

EXPERTS, PER_EXPERT, SHARED, PROMPT_LENGTH = 4, 6, 10, 2


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer, then a layer with a shared expert and four of which a token reads two."""
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    model = Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=12, moe_intermediate_size=PER_EXPERT,
            shared_expert_intermediate_size=SHARED, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
            num_experts=EXPERTS, num_experts_per_tok=2, mlp_only_layers=[0], max_position_embeddings=256,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return save(model, tmp_path_factory.mktemp("models") / "mixture")


@pytest.fixture(scope="module")
def run(ray_here: object, mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    return submit(mixture, tmp_path_factory.mktemp("runs"))


def submit(mixture: Path, out: Path, **options: object) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", random_rows(90))
    common = {"soft_prompt": "random", "prompt_length": PROMPT_LENGTH, "null": 2, "shard_size": 8}
    return skilljobs.submit(data=str(data), model=str(mixture), out=str(out), **{**common, **options})  # type: ignore[arg-type]


@torch.inference_mode()
def test_r_of_every_neuron_is_that_of_plain_passes(run: skilljobs.Run, mixture: Path) -> None:
    model = Qwen2MoeForCausalLM.from_pretrained(mixture)
    lm = frozen(model)
    oracle, prompt = Oracle(lm), read_prompt_bytes(run.folder.read("prompt/soft_prompt.safetensors")).vectors
    examples = run.examples().collect()
    layers: list[list[np.ndarray]] = [[], []]
    for text in examples["text"]:
        ids = torch.tensor(lm.tokenizer(text).input_ids)
        for kept, layer in zip(layers, oracle.read(torch.cat([lm.embed(ids), prompt])), strict=True):
            kept.append(layer[-PROMPT_LENGTH:].double().mean(0).numpy())
    words = examples["words"].cast(pl.Float64).to_numpy()
    found = run.correlations().filter(metric="words", population="all").collect()
    for number, kept in enumerate(layers):
        rows = found.filter(layer=number)
        activations = np.stack(kept)
        for r, values in zip(rows["r"], activations.T, strict=True):
            if r is None:
                assert values.std() == 0  # of an expert that no example is sent to
            else:
                assert r == pytest.approx(np.corrcoef(values, words)[0, 1], abs=1e-5)
        assert rows["r"].count() >= 12
    keys = found.filter(layer=1).select("expert", "neuron").rows()
    assert keys == [(None, n) for n in range(SHARED)] + [(e, n) for e in range(EXPERTS) for n in range(PER_EXPERT)]
    assert found.filter(layer=0)["expert"].null_count() == 12


def test_every_table_with_neurons_names_the_expert(run: skilljobs.Run) -> None:
    for table in (run.correlations(), run.strongest(), run.sums(), run.activations(), run.vocabulary()):
        assert table.collect_schema()["expert"] == pl.Int16
    reference = pl.read_parquet(f"{run.uri}/reference.parquet")
    assert reference.filter(layer=1)["expert"].unique().sort().to_list() == [None, *range(EXPERTS)]
    traced = run.activations().select("layer", "expert", "neuron").unique().collect()
    assert traced["expert"].n_unique() > 1
    assert [layer["experts"] for layer in json.loads(run.folder.read("run.json"))["model"]["neurons"]] == [
        [], list(range(EXPERTS)),
    ]  # fmt: skip


def test_commands_name_the_expert(run: skilljobs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code == 0
        return capsys.readouterr().out

    top = run.top("words", k=30)
    row = top.filter(pl.col("expert").is_not_null()).row(0, named=True)
    assert " expert " in printed("top", run.uri, "--metric", "words")
    name = f"{row['layer']}/{row['expert']}/{row['neuron']}"
    assert f"layer 1 expert {row['expert']} neuron {row['neuron']}" in printed("neuron", run.uri, name)
    assert "layer 1 neuron 3" in printed("neuron", run.uri, "1/3")
    assert f"expert {row['expert']}" in Path(run.uri, "report.html").read_text()
    assert "in both" in printed("compare", run.uri, run.uri, "--metric", "words")


@pytest.mark.parametrize("name", ["1/4/0", "1/0/6", "0/0/3", "1/10", "2/0"])
def test_a_neuron_that_there_is_not_is_refused(
    run: skilljobs.Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["neuron", run.uri, name])
    assert ended.value.code == 2
    assert f"there is no neuron {name}" in capsys.readouterr().err


def test_a_selection_gives_the_same_r(run: skilljobs.Run, mixture: Path, tmp_path: Path) -> None:
    narrow = submit(mixture, tmp_path, layers="1", experts="1-2", report=False)
    key = ["layer", "expert", "neuron", "metric", "r", "ci_low", "n"]
    kept = pl.col("expert").is_null() | pl.col("expert").is_between(1, 2)
    whole = run.correlations().filter(kept, pl.col("layer") == 1, ~pl.col("metric").str.starts_with("null"))
    found = narrow.correlations().filter(~pl.col("metric").str.starts_with("null"))
    assert_frame_equal(found.select(key).collect(), whole.select(key).collect(), check_row_order=False, abs_tol=1e-12)
    assert [path.name for path in Path(narrow.uri, "correlations").iterdir()] == ["layer-001.parquet"]
    with pytest.raises(InputError, match="the run read layers 1 to 1"):
        Cards(narrow, [NeuronName(0, None, 1)])


def test_a_chosen_layer_that_there_is_not_is_refused_before_anything_is_written(
    ray_here: Callable[[], None], mixture: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--layers 0-2: the model has 2 layers"):
        submit(mixture, tmp_path, layers="0-2")
