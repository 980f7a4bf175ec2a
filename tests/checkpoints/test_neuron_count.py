"""The neurons of large models, by the shapes of their weights."""

import pytest

from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import ModelSource, find_model
from skilljobs.selection import Selection

TINY_SOURCE = find_model("tiny")


@pytest.mark.parametrize("fused", [True, False])
def test_neurons_of_a_large_mixture(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    """The shape of Qwen3-30B-A3B."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(48):
        prefix = f"model.layers.{layer}.mlp"
        shapes[f"{prefix}.gate.weight"] = (128, 2048)
        if fused:
            shapes[f"{prefix}.experts.down_proj"] = (128, 2048, 768)
            shapes[f"{prefix}.experts.gate_up_proj"] = (128, 1536, 2048)
        else:
            shapes |= {f"{prefix}.experts.{expert}.down_proj.weight": (2048, 768) for expert in range(128)}
            shapes |= {f"{prefix}.experts.{expert}.up_proj.weight": (768, 2048) for expert in range(128)}
    monkeypatch.setattr("skilljobs.checkpoints.neuron_count.stored_shapes", lambda source: shapes)
    source = ModelSource("qwen", TINY_SOURCE.path, {"hidden_size": 2048, "num_hidden_layers": 48, "num_experts": 128})
    assert neurons_read(source, Selection()) == 48 * 128 * 768
    assert neurons_read(source, Selection.of(None, "10-20", "0-15")) == 11 * 16 * 768


def test_chosen_layers_of_a_dense_model() -> None:
    whole = neurons_read(TINY_SOURCE, Selection())
    assert whole is not None
    assert neurons_read(TINY_SOURCE, Selection.of(None, "1", None)) == whole // int(
        TINY_SOURCE.config["num_hidden_layers"]
    )
