"""A model is read in parts only if that gives what a plain forward pass gives; otherwise it is refused by name."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from skilljobs.errors import InputError
from skilljobs.lm.load import load_model
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.self_check import check_reading_in_parts
from skilljobs.lm.source import TINY_DIRECTORY, ModelSource
from tests.architectures import WINDOW, build_tiny, causal_types


def check(model: PreTrainedModel, folder: Path, attention: str | None = None) -> FrozenLM:
    """Load a model from its directory as a scorer does."""
    model.save_pretrained(folder)
    loaded = load_model(ModelSource("model", folder, {}), "float32", "cpu", attention)
    lm = FrozenLM(loaded, AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    check_reading_in_parts(lm)
    return lm


def tiny(model_type: str) -> PreTrainedModel:
    model = build_tiny(model_type)
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("model_type", "attention"),
    [
        ("bloom", "eager"), ("gemma2", "eager"), ("gptj", "eager"), ("vaultgemma", "eager"), ("xglm", "eager"),
        ("gpt_neo", "eager"), ("llama", "sdpa"), ("gemma3_text", "sdpa"), ("biogpt", "sdpa"), ("ctrl", "sdpa"),
    ],
)  # fmt: skip
def test_an_architecture_is_read_with_the_attention_that_it_supports(
    tmp_path: Path, model_type: str, attention: str
) -> None:
    assert check(tiny(model_type), tmp_path).attention == attention


def test_the_attention_may_be_chosen(tmp_path: Path) -> None:
    assert check(tiny("llama"), tmp_path, "eager").attention == "eager"
    with pytest.raises(InputError, match=r"the model model cannot be loaded: .*no-such-attention"):
        check(tiny("llama"), tmp_path, "no-such-attention")


@pytest.mark.parametrize("model_type", ["gpt_neo", "mistral", "gemma3_text"])
def test_an_attention_window_is_known_by_whatever_name(tmp_path: Path, model_type: str) -> None:
    lm = check(tiny(model_type), tmp_path)
    assert lm.window == WINDOW
    assert not lm.takes_trees(WINDOW + 1)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("gemma3n_text", "is not supported: read with a prompt of its own token embeddings"),
        ("qwen3_5_text", "cannot be read in parts"),
        ("mixtral", "is a mixture of experts"),
        ("gpt_oss", "is a mixture of experts"),
        ("bert", "no FFN down projection found"),
        ("bart", "is not supported"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(tmp_path: Path, model_type: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check(tiny(model_type), tmp_path)


def test_a_window_that_no_configuration_names_is_noticed(tmp_path: Path) -> None:
    lm = check(tiny("mistral"), tmp_path)
    lm.window = None  # trees are now longer than the window, which their masks ignore
    with pytest.raises(InputError, match="is not supported"):
        check_reading_in_parts(lm)


def test_a_model_whose_activations_are_not_finite_is_not_taken_for_right(tmp_path: Path) -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[20:] = torch.nan  # the first ids are those that the head is checked on
    with pytest.raises(InputError, match="relative error inf"):
        check(model, tmp_path)


@pytest.mark.slow
def test_every_causal_architecture_is_right_or_refused(tmp_path: Path) -> None:
    """Nothing but InputError comes out, and most of what transformers has is right."""
    right, refused = [], []
    for model_type in causal_types():
        model = build_tiny(model_type)
        if model is None:
            continue
        try:
            check(model, tmp_path / model_type)
        except InputError:
            refused.append(model_type)
        else:
            right.append(model_type)
    assert len(right) >= 55, (len(right), refused)
    assert {"llama", "gemma2", "gemma3_text", "qwen2", "qwen3", "mistral", "phi3", "olmo2", "gpt_neox"} <= set(right)
