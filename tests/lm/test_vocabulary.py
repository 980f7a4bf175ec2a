"""The tokens that a neuron promotes agree with the model's output when that neuron dominates the residual stream."""

import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.vocabulary import token_effects
from skilljobs.stats.neurons import NeuronName
from tests.lm.test_forward import build
from tests.models import projections


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt-neox"])
def test_promoted_tokens_are_those_that_an_overwhelming_activation_predicts(name: str) -> None:
    model = build(name).eval()
    lm = FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    layer, neuron = 2, 7
    if name == "gemma3":  # the norm after its FFN would otherwise keep the activation from dominating
        model.model.layers[layer].post_feedforward_layernorm.weight.copy_(torch.rand(32) * 1e6)
    one_hot = torch.zeros(lm.neurons[layer].count)
    one_hot[neuron] = 1e5
    projection = projections(lm.model)[layer]
    with torch.no_grad():
        if getattr(projection, "bias", None) is not None:
            projection.bias.zero_()  # type: ignore[union-attr, operator]
        alone = (one_hot.expand(1, 2, -1),)
        handle = projection.register_forward_pre_hook(lambda *_: alone)
        logits = lm.body(torch.tensor([[5, 6]])).last_hidden_state[0, -1] @ lm.head.weight.T
        handle.remove()
    effects = token_effects(lm, [NeuronName(layer, None, neuron), NeuronName(0, None, 1)], k=3)
    assert [(e.layer, e.neuron) for e in effects] == [(2, 7)] * 6 + [(0, 1)] * 6
    vocabulary = min(len(logits), len(lm.tokenizer))
    expected = [lm.tokenizer.decode([int(token)]) for token in logits[:vocabulary].topk(3).indices]
    assert [e.token for e in effects[:3]] == expected
