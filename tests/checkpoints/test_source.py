import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.checkpoints.tokenizer_files import check_tokenizer_files
from skilljobs.errors import InputError


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
        ({"architectures": ["BertForMaskedLM"]}, "has no weights"),
        ({"architectures": ["BertModel"]}, "BertModel, neither a causal nor a masked language model"),
        (
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "T5ForConditionalGeneration, an encoder-decoder: its text and its answer are read by two stacks",
        ),
        ({"architectures": ["LlamaForCausalLM"]}, "has no weights"),
    ],
)
def test_a_directory_that_is_no_language_model_is_refused(tmp_path: Path, config: object, reason: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=reason):
        find_model(str(tmp_path))


@pytest.mark.parametrize("config", [b"[1]", b"5", b"null", b"", b'{"a": "\xff"}', b"[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path, config: bytes) -> None:
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(InputError, match=r"config\.json, is not (valid JSON|a JSON object)"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("architectures", [5, "BertModel", {"a": 1}, [None]])
def test_architectures_of_a_foreign_type_are_no_language_model(tmp_path: Path, architectures: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": architectures}))
    with pytest.raises(InputError, match="neither a causal nor a masked language model"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("max_position_embeddings", "context"),
        ("num_hidden_layers", "layers"),
        ("hidden_size", "width"),
        ("intermediate_size", "neurons"),
        ("head_dim", "cached_width"),
    ],
)
@pytest.mark.parametrize("value", ["many", [1.5], -3, True, {"a": 1}])
def test_a_number_of_the_configuration_that_is_none_is_named(tmp_path: Path, name: str, of: str, value: object) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    source = ModelSource("mine", tmp_path, config | {name: value})
    with pytest.raises(InputError, match=f"mine has {name} = "):
        getattr(source, of)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no model"):
        find_model(name)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("tokenizer.json", None, "has no tokenizer"),
        ("tokenizer.json", b"", r"damaged file tokenizer\.json: it is empty"),
        ("tokenizer.json", b"{}", r"damaged file tokenizer\.json: "),
        ("tokenizer.json", b"\xff\xfe", r"damaged file tokenizer\.json: "),
        ("tokenizer_config.json", b"[]", r"damaged file tokenizer_config\.json: it is not a JSON object"),
        ("tokenizer_config.json", b"{", r"damaged file tokenizer_config\.json: it is not JSON"),
    ],
)
def test_a_missing_or_damaged_tokenizer_is_named(
    tmp_path: Path, small_llama: Path, name: str, data: bytes | None, reason: str
) -> None:
    shutil.copytree(small_llama, tmp_path / "model")
    check_tokenizer_files(find_model(str(tmp_path / "model")))
    (tmp_path / "model" / name).unlink()
    if data is not None:
        (tmp_path / "model" / name).write_bytes(data)
    source = find_model(str(tmp_path / "model"))
    with pytest.raises(InputError, match=reason) as refused:
        check_tokenizer_files(source)
    assert "\n" not in str(refused.value)


def test_what_only_reads_a_run_downloads_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def snapshot_download(name: str, local_files_only: bool, **_: object) -> str:
        asked.append(local_files_only)
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match=r"nor in the local cache of the Hugging Face hub$"):
        find_model("somebody/something", download=False)
    with pytest.raises(InputError, match="and the hub could not be reached"):
        find_model("somebody/something")
    assert asked == [True, False]
