import json
from pathlib import Path

import pytest

from skilljobs.errors import InputError
from skilljobs.lm.source import find_model


def test_tiny_is_bundled() -> None:
    source = find_model("tiny")
    assert source.config["architectures"] == ["LlamaForCausalLM"]
    assert source.context is not None
    assert source.context >= 512
    assert sum(file.stat().st_size for file in source.path.glob("*.safetensors")) <= 6_000_000


def test_the_digest_depends_on_the_contents_of_the_files(small_llama: Path, tmp_path: Path) -> None:
    for file in small_llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    first = find_model(str(tmp_path)).digest
    assert first == find_model(str(small_llama)).digest
    weights = tmp_path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert find_model(str(tmp_path)).digest != first


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", "/nowhere/at/all", "somebody/something"])
def test_the_error_for_a_missing_model_names_it(name: str) -> None:
    with pytest.raises(InputError, match=name):
        find_model(name)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "has no config.json"),
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM, not a causal language model"),
        ({"architectures": ["LlamaForCausalLM"]}, "has no weights"),
    ],
)
def test_a_directory_that_is_not_a_causal_model_is_refused(tmp_path: Path, config: object, reason: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=reason):
        find_model(str(tmp_path))
