"""Models whose weights or code are not what they seem are refused, by name."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from skilljobs.checkpoints.checkpoint import check_weight_files
from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.errors import InputError
from skilljobs.lm.load import load_model, load_tokenizer
from tests.models import save_random_llama

Tensors = dict[str, torch.Tensor]
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_random_llama(tmp_path / "model", width=16, neurons=24, layers=2, heads=2)


def changed(folder: Path, change: Callable[[Tensors], object]) -> ModelSource:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return find_model(str(folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop(DOWN), f"lacks the weights {DOWN}: results would not"),
        (lambda tensors: [tensors.pop(name) for name in sorted(tensors) if "mlp" in name], r"and 3 more: results"),
        (
            lambda tensors: tensors.update({DOWN: torch.zeros(3, 3)}),
            rf"wrong shape for the weights {DOWN} \(stored as \(3, 3\), needed as \(16, 24\)\)",
        ),
        (lambda tensors: tensors.update(odd=torch.zeros(3)), "has more than its architecture: the weights odd"),
    ],
)
def test_weights_that_are_not_those_of_the_architecture_are_named(
    folder: Path, change: Callable[[Tensors], object], reason: str
) -> None:
    source = changed(folder, change)
    with pytest.raises(InputError, match=reason):
        load_model(source, "float32", "cpu")


def test_masks_that_older_checkpoints_store_are_no_weights(folder: Path) -> None:
    mask = {"model.layers.0.self_attn.bias": torch.ones(4, 4, dtype=torch.bool)}
    source = changed(folder, lambda tensors: tensors.update(mask))
    check_weight_files(source)
    load_model(source, "float32", "cpu")


def test_integer_weights_without_a_quantizer_are_refused_before_torch_is_needed(folder: Path) -> None:
    source = changed(folder, lambda tensors: tensors.update({DOWN: torch.zeros(16, 24, dtype=torch.int8)}))
    with pytest.raises(InputError, match=f"stores the weights {DOWN} as I8"):
        check_weight_files(source)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_named(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"has a damaged file model\.safetensors"):
        check_weight_files(find_model(str(folder)))


def test_an_index_that_names_what_is_not_there(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    names = list(load_file(folder / "part-1.safetensors"))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "part-1.safetensors")}))
    check_weight_files(find_model(str(folder)))
    index.write_text(json.dumps({"weight_map": dict.fromkeys([*names, "one.more"], "part-1.safetensors")}))
    with pytest.raises(InputError, match=r"lacks the weights one\.more, which its index names"):
        check_weight_files(find_model(str(folder)))
    index.write_text(json.dumps({"weight_map": {"one.more": "part-2.safetensors"}}))
    with pytest.raises(InputError, match=r"lacks the weight file part-2\.safetensors"):
        check_weight_files(find_model(str(folder)))
    index.write_text("{}")
    with pytest.raises(InputError, match=r"has a damaged file model\.safetensors\.index\.json"):
        check_weight_files(find_model(str(folder)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}'])
def test_a_tokenizer_that_cannot_be_read_is_refused_in_a_sentence(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match="has no tokenizer that can be read") as caught:
        load_tokenizer(find_model(str(folder)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000])
def test_a_configuration_that_is_no_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json, is not"):
        find_model(str(folder))


def test_no_code_of_a_model_is_run_even_if_somebody_would_say_yes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "stranger",
        "auto_map": {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(
        f"open({str(folder / 'ran')!r}, 'w').close()\nclass Config: pass\nclass M: pass\n"
    )
    program = (
        "import sys\nfrom skilljobs.errors import InputError\n"
        "from skilljobs.lm.load import load_model, load_tokenizer\n"
        "from skilljobs.checkpoints.source import find_model\n"
        "source = find_model(sys.argv[1])\n"
        "try:\n    load_model(source, 'float32', 'cpu')\nexcept InputError as error:\n    print(error)\n"
        "try:\n    load_tokenizer(source)\nexcept InputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], input="y\ny\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded" in done.stdout
    assert not (folder / "ran").exists()
