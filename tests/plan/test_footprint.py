"""What fits which memory, of models and machines that are only described."""

import json
from pathlib import Path
from typing import Any

import pytest

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Machine
from skilljobs.plan.footprint import fitting_batch_tokens, refuse_too_large, weights_bytes
from skilljobs.plan.numerics import resolve_numerics
from skilljobs.spec import JobSpec

GB = 10**9
LLAMA_8B = {
    "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8, "dtype": "bfloat16",
}  # fmt: skip


def model(folder: Path, size: int, config: dict[str, Any]) -> ModelSource:
    """One with weights of so many bytes, which are nowhere."""
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)
    return ModelSource("large", folder, config)


def test_batches_fill_the_device_or_its_memory(tmp_path: Path) -> None:
    source = model(tmp_path, 16 * GB, LLAMA_8B)

    def tokens(gpu_gb: int, gpus: int = 1, sums_gb: float = 0.7, kept: int = 1) -> int:
        machine = Machine(16, 8, 64 * GB, gpu_gb * GB)
        return fitting_batch_tokens(source, "bfloat16", gpus, 1, machine, int(sums_gb * GB), kept)

    assert tokens(80) == tokens(140) == 32768
    assert 256 < tokens(24) < tokens(32) < 32768
    assert tokens(24) % 256 == 0
    assert tokens(80, kept=16) < 16384, "every position of a neuron is kept"
    assert tokens(24, sums_gb=1.2) < tokens(24)
    shared_by_four = tokens(24)
    source.config["num_key_value_heads"] = 32
    assert tokens(24) < shared_by_four
    source.config["num_key_value_heads"] = 8
    assert tokens(24, gpus=2) > tokens(24), "each holds half of the weights"
    assert tokens(12) == 256, "the weights alone do not fit: that is refused elsewhere"
    assert tokens(0) == 32768, "not known"


def test_scorers_on_cpus_share_the_memory(tmp_path: Path) -> None:
    source = model(tmp_path, GB, LLAMA_8B)
    eight, one = (
        fitting_batch_tokens(source, "float32", 0, replicas, Machine(8, 0, 24 * GB), 0, 1) for replicas in (8, 1)
    )
    assert 256 <= eight < one == 2048
    assert resolve_numerics(JobSpec("arithmetic"), source, 0, Machine(8, 0, 64 * GB)).batch_tokens == 2048
    said = JobSpec("arithmetic", batch_tokens=99)
    assert resolve_numerics(said, source, 0, Machine(8, 0, 64 * GB)).batch_tokens == 99


def test_a_model_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    source = model(tmp_path, 16 * GB, LLAMA_8B)
    assert weights_bytes(source, "float32") == 32 * GB
    (tmp_path / "consolidated.safetensors").write_bytes(b"the same weights once more")
    assert weights_bytes(source, "float32") == 32 * GB
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"12345678")
    assert weights_bytes(source, "float32") == 32 * GB, "transformers takes model.safetensors first"
    (tmp_path / "model.safetensors").rename(tmp_path / "aside")
    assert weights_bytes(source, "bfloat16") == 16
    (tmp_path / "aside").rename(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(InputError, match=r"takes 32 GB as float32, and the machine has 24 GB: try --dtype bfloat16 or"):
        refuse_too_large(source, "float32", 0, Machine(2, 0, 24 * GB))
    with pytest.raises(InputError, match=r"takes 16 GB as bfloat16, and a GPU has 12 GB: try --gpus-per-replica 2 or"):
        refuse_too_large(source, "bfloat16", 1, Machine(2, 4, 24 * GB, 12 * GB))
    for fits in (Machine(2, 2, GB, 12 * GB), Machine(2, 2, 24 * GB)):
        refuse_too_large(source, "bfloat16", 2, fits)
