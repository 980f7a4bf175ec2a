"""How programs read modules, on tiny models: what nnsight and TransformerLens give is what hooks give.

`python -m tests.export.test_programs` tries all architectures, and prints those in which TransformerLens does.
"""

import logging
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.export.snippet_text import IN_TRANSFORMER_LENS
from skilljobs.neurons.architectures import DENSE
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import ProjectionInput
from tests.architectures import build_tiny
from tests.models import save

Found = dict[tuple[str, None], torch.Tensor]


def entering(form: str, model: Any, names: list[str], folder: Path) -> list[torch.Tensor]:
    """What enters the modules `names`, layer by layer, as the program of this format reads it."""
    file = folder / f"{form}.py"
    file.write_text((files("skilljobs.export") / "snippets" / f"{form}.txt").read_text())
    program = run_path(str(file), {"NEURONS": [(name, 0, None, 0, None) for name in names], "torch": torch})
    with torch.inference_mode():
        ids = torch.tensor([[5, 9, 30, 77, 12, 100]])
        found: Found = program["entering"](model, program["embedding_of"](model)(ids) * 0.9)
    return [found[name, None] for name in names]


def with_hooks(model: PreTrainedModel, folder: Path) -> tuple[list[torch.Tensor], list[str]]:
    """What enters the down projections, and the paths of these."""
    paths = {id(module): path for path, module in model.named_modules()}
    sites = [layer.sites[0] for layer in find_neurons(model)]
    names = [paths[id(site.projection)] for site in sites if isinstance(site, ProjectionInput)]
    return entering("hooks", model, names, folder), names


def with_transformer_lens(model: PreTrainedModel, count: int, folder: Path) -> list[torch.Tensor]:
    from transformer_lens.model_bridge import TransformerBridge

    save(model, folder)
    copy = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    bridge = TransformerBridge.boot_transformers(str(folder), hf_model=copy, tokenizer=tokenizer, device="cpu")
    return entering("transformerlens", bridge, [f"blocks.{layer}.mlp.out.hook_in" for layer in range(count)], folder)


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).abs().max() / (1 + other.abs().max())) for one, other in pairs)


@pytest.mark.parametrize("model_type", ["gpt2", "opt", "falcon", "gemma3_text", "modernbert-decoder"])
def test_libraries_read_what_hooks_read(model_type: str, tmp_path: Path) -> None:
    """Learned positions, flattened batches, attention beside the FFN, two kinds of attention, other names."""
    if not (find_spec("nnsight") and find_spec("transformer_lens")):
        pytest.skip("nnsight and TransformerLens are not installed (skilljobs[bench])")
    from nnsight import NNsight

    model = build_tiny(model_type)
    assert model is not None
    assert type(model).__name__.removesuffix("ForCausalLM") in IN_TRANSFORMER_LENS
    expected, names = with_hooks(model, tmp_path)
    assert difference(with_transformer_lens(model, len(names), tmp_path), expected) < 1e-5
    assert difference(entering("nnsight", NNsight(model), names, tmp_path), expected) < 1e-5


def agreeing() -> set[str]:
    """The dense architectures in which TransformerLens reads what hooks read."""
    agree = set()
    for model_type in (name for row in DENSE for name in row.model_types):
        model = build_tiny(model_type)
        with tempfile.TemporaryDirectory() as folder:
            try:
                assert model is not None
                expected, names = with_hooks(model, Path(folder))
                if difference(with_transformer_lens(model, len(names), Path(folder)), expected) < 1e-5:
                    agree.add(type(model).__name__.removesuffix("ForCausalLM"))
            except Exception as error:  # an architecture that TransformerLens does not know raises what it likes
                print(f"{model_type}: {type(error).__name__}")
    return agree


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    found = agreeing()
    print("agree:", sorted(found))
    print("listed, but do not:", sorted(IN_TRANSFORMER_LENS - found))
