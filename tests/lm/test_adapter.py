"""LoRA adapters: the merged model computes what peft does with the adapter beside the weights; others are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from skilljobs.checkpoints.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, find_adapter
from skilljobs.checkpoints.source import find_model
from skilljobs.errors import InputError
from skilljobs.lm.load import load_model
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import Window, capture_activations
from skilljobs.pipeline.opening import planned_fields
from skilljobs.plan.chosen_model import chosen_model
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import JobSpec
from tests.models import save_random_llama

IDS = torch.arange(5, 25)[None]


def save_adapter(model: Path, path: Path, zero: bool = False, seed: int = 0, **options: Any) -> Path:
    """An adapter as training would leave it, all of its weights random."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    general: dict[str, Any] = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["down_proj", "q_proj"],
        "task_type": "CAUSAL_LM",
    }
    adapted = get_peft_model(base, LoraConfig(**general | options))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad and not (zero and "lora_B" in name):
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    adapted.save_pretrained(path, save_embedding_layers=False)
    return path


def load(model: Path, adapter: Path | None, dtype: str = "float32") -> PreTrainedModel:
    return load_model(chosen_model(spec(model, adapter)), dtype, "cpu")


def spec(model: Path, adapter: Path | None) -> JobSpec:
    named = None if adapter is None else str(adapter)
    return JobSpec(task="arithmetic", model=str(model), adapter=named, soft_prompt="random", limit=8)


def read(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the activations of all layers at the last position."""
    window = Window(1, slice(-1, None), "last")
    with torch.no_grad(), capture_activations(find_neurons(model), window) as activations:
        logits = model(IDS, use_cache=False).logits
    return logits, torch.stack(activations)


@pytest.mark.parametrize(
    "options",
    [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}],
    ids=lambda options: next(iter(options), "plain"),
)
def test_the_merged_model_is_the_adapted_one(small_llama: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    adapter = save_adapter(small_llama, tmp_path / "adapter", **options)
    merged = load(small_llama, adapter)
    beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(small_llama, dtype=torch.float32), adapter)
    with torch.no_grad():
        expected = beside(IDS, use_cache=False).logits
    logits, activations = read(merged)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    before_logits, before = read(load(small_llama, None))
    assert (logits - before_logits).abs().max() > 0.1
    assert (activations - before).abs().max() > 0.01
    assert type(merged) is type(load(small_llama, None))
    assert not any("lora" in name for name, _ in merged.named_modules())


def test_a_gradient_passes_through_the_merged_weights(small_llama: Path, tmp_path: Path) -> None:
    model = load(small_llama, save_adapter(small_llama, tmp_path / "adapter"))
    vectors = model.get_input_embeddings()(IDS).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(inputs_embeds=vectors, use_cache=False).logits.sum(), vectors)
    assert gradient.abs().max() > 0


def test_an_adapter_is_merged_in_bfloat16(small_llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(small_llama, tmp_path / "adapter")
    rough, exact = read(load(small_llama, adapter, "bfloat16"))[0].float(), read(load(small_llama, adapter))[0]
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


def damaged(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def apply(adapter: Path) -> None:
        save_file(change(load_file(adapter / ADAPTER_WEIGHTS)), adapter / ADAPTER_WEIGHTS)

    return apply


def configured(**values: Any) -> Callable[[Path], None]:
    def apply(adapter: Path) -> None:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text()) | values
        (adapter / ADAPTER_CONFIG).write_text(json.dumps(config))

    return apply


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damaged(lambda tensors: dict(list(tensors.items())[1:])), "its file lacks the weights"),
        (damaged(lambda tensors: {n.replace("q_proj", "x_proj"): t for n, t in tensors.items()}), "has no place for"),
        (damaged(lambda tensors: {n: t[:, :3].contiguous() for n, t in tensors.items()}), "size mismatch"),
        (damaged(lambda tensors: {n: t * float("nan") for n, t in tensors.items()}), "that are not finite"),
        (damaged(lambda tensors: {n: t.int() for n, t in tensors.items()}), "is not floating-point"),
        (configured(target_modules=["nothing"]), "does not fit"),
        (configured(target_modules=["q_proj"]), "has no place for"),
        (configured(r=8), "size mismatch"),
        (configured(peft_type="IA3"), "of the kind IA3, and only LORA is merged"),
        (configured(init_lora_weights="pissa"), "begun with 'pissa'"),
        (lambda adapter: (adapter / ADAPTER_CONFIG).write_text("[]"), "of the kind None"),
        (lambda adapter: (adapter / ADAPTER_CONFIG).write_text("{"), "is not JSON"),
        (lambda adapter: (adapter / ADAPTER_WEIGHTS).write_bytes(b"x" * 40), "is damaged"),
        (lambda adapter: (adapter / ADAPTER_WEIGHTS).unlink(), r"there is no adapter_model\.safetensors"),
        (shutil.rmtree, r"there is no adapter_config\.json"),
    ],
)
def test_an_adapter_that_does_not_fit_is_named(
    small_llama: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    adapter = save_adapter(small_llama, tmp_path / "adapter")
    damage(adapter)
    with pytest.raises(InputError, match=reason) as refused:
        load(small_llama, adapter)
    assert str(adapter) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_adapter_of_another_model_is_refused(small_llama: Path, tmp_path: Path) -> None:
    wider = save_random_llama(tmp_path / "wider", 32, 24, 2, 2)
    deeper = save_random_llama(tmp_path / "deeper", 16, 24, 3, 2)
    with pytest.raises(InputError, match="size mismatch"):
        load(small_llama, save_adapter(wider, tmp_path / "of-wider"))
    with pytest.raises(InputError, match="the model has no place for"):
        load(small_llama, save_adapter(deeper, tmp_path / "of-deeper"))
    with pytest.raises(InputError, match="its file lacks"):
        load(deeper, save_adapter(small_llama, tmp_path / "of-small"))


def test_an_adapter_that_changes_nothing_is_refused(small_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="changes nothing: its weights are zero"):
        load(small_llama, save_adapter(small_llama, tmp_path / "adapter", zero=True))


def test_an_adapter_of_tied_weights_is_refused_if_merging_would_change_both(small_llama: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(small_llama)
    base.config.tie_word_embeddings = True
    base.tie_weights()
    shutil.copytree(small_llama, tmp_path / "tied")
    base.save_pretrained(tmp_path / "tied")
    adapter = save_adapter(tmp_path / "tied", tmp_path / "adapter", target_modules=["embed_tokens"])
    with pytest.raises(InputError, match="cannot be merged"):
        load(tmp_path / "tied", adapter)


def test_files_that_changed_since_they_were_found_are_refused(small_llama: Path, tmp_path: Path) -> None:
    source = chosen_model(spec(small_llama, save_adapter(small_llama, tmp_path / "adapter")))
    load_model(source, "float32", "cpu")
    save_adapter(small_llama, tmp_path / "adapter", seed=1)
    with pytest.raises(InputError, match="is not the one that the job began with"):
        load_model(source, "float32", "cpu")


def test_the_contents_of_an_adapter_are_in_the_fingerprint(small_llama: Path, tmp_path: Path) -> None:
    def digest(adapter: Path | None) -> object:
        return planned_fields(plan_job(spec(small_llama, adapter)))["adapter_digest"]

    first = digest(save_adapter(small_llama, tmp_path / "adapter"))
    assert digest(None) is None
    shutil.copytree(tmp_path / "adapter", tmp_path / "moved")
    assert digest(tmp_path / "moved") == first
    assert digest(save_adapter(small_llama, tmp_path / "adapter", seed=1)) != first


def test_peft_is_needed_only_for_an_adapter(small_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = save_adapter(small_llama, tmp_path / "adapter")
    monkeypatch.setattr("skilljobs.checkpoints.adapter_files.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package peft: pip install .*skilljobs\[adapter\]"):
        find_adapter(str(adapter))
    find_model(str(small_llama))
