"""A safetensors file that is cut off or foreign is refused by what is wrong with it: weights and soft prompts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from skilljobs.checkpoints.checkpoint import check_weight_files
from skilljobs.checkpoints.source import find_model
from skilljobs.errors import InputError
from skilljobs.plan.reused_prompt import planned_prompt_length
from skilljobs.spec import JobSpec

WIDTH = 16


def packed(header: Any, values: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def entry(**changed: Any) -> dict[str, Any]:
    return {"x": {"dtype": "F32", "shape": [2, WIDTH], "data_offsets": [0, 8 * WIDTH]} | changed}


VALUES = bytes(8 * WIDTH)
CASES = [
    (b"", "its header is cut off"),
    (b"\x10\0\0", "its header is cut off"),
    (b"PK\x03\x04 a file of PyTorch", "its header is cut off"),
    (packed(entry(), VALUES)[:60], "its header is cut off"),
    (packed(b"{]"), "its header is not JSON"),
    (packed(b"\xff\xff"), "its header is not JSON"),
    (packed(b"[" * 100_000), "its header is not JSON"),
    (packed([1]), "its header is not a JSON object"),
    (packed({"x": [1]}), "does not say the type, shape and place of 'x'"),
    (packed(entry(dtype=5), VALUES), "does not say the type, shape and place of 'x'"),
    (packed(entry(shape=7), VALUES), "does not say the type, shape and place of 'x'"),
    (packed(entry(data_offsets=[0]), VALUES), "does not say the type, shape and place of 'x'"),
    (packed(entry(data_offsets=[-4, 124]), VALUES), "does not say the type, shape and place of 'x'"),
    (packed(entry(shape=[3, WIDTH]), VALUES), "the place of 'x' does not fit its type and shape"),
    (packed(entry(), VALUES[:-4]), "its tensors have 124 bytes, and its header says 128"),
    (packed(entry(), VALUES + b"more"), "its tensors have 132 bytes, and its header says 128"),
]


@pytest.mark.parametrize(("data", "reason"), CASES)
def test_damaged_weights_are_named(tmp_path: Path, small_llama: Path, data: bytes, reason: str) -> None:
    shutil.copytree(small_llama, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"has a damaged file model\.safetensors") as refused:
        check_weight_files(find_model(str(tmp_path / "model")))
    assert reason in str(refused.value)


def test_weight_files_without_weights_are_refused(tmp_path: Path, small_llama: Path) -> None:
    shutil.copytree(small_llama, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(packed({}))
    with pytest.raises(InputError, match="hold no weights"):
        check_weight_files(find_model(str(tmp_path / "model")))


def length_of(path: Path, model: Path) -> int:
    return planned_prompt_length(JobSpec(task="arithmetic", soft_prompt=str(path)), find_model(str(model)))


@pytest.mark.parametrize(("data", "reason"), CASES)
def test_a_damaged_soft_prompt_is_named(tmp_path: Path, small_llama: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p\.safetensors: it is not a whole safetensors file") as refused:
        length_of(path, small_llama)
    assert reason in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_soft_prompt_of_numbers_that_are_not_finite_is_refused(
    tmp_path: Path, small_llama: Path, dtype: torch.dtype
) -> None:
    path, vectors = tmp_path / "p.safetensors", torch.ones(2, WIDTH, dtype=dtype)
    path.write_bytes(save({"x": vectors}))
    assert length_of(path, small_llama) == 2
    for bad in (float("nan"), float("-inf")):
        vectors[1, 3] = bad
        path.write_bytes(save({"x": vectors}))
        with pytest.raises(InputError, match="one of its values is not finite"):
            length_of(path, small_llama)


def test_a_soft_prompt_of_whole_numbers_is_refused(tmp_path: Path, small_llama: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(save({"x": torch.ones(2, WIDTH, dtype=torch.int32)}))
    with pytest.raises(InputError, match="its values are of the type I32, not floating-point"):
        length_of(path, small_llama)
