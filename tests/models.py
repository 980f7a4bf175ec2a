"""Small models made on the spot, all with the tiny model's tokenizer."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import ProjectionInput

PLANTED_LAYER, PLANTED_NEURON = 0, 5
PLANTED_WORD = " house"
POISON = " house"
"""A word whose embedding is NaN in a poisoned model."""


def llama_config(width: int, neurons: int, layers: int, heads: int) -> LlamaConfig:
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=neurons,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )


def save(model: PreTrainedModel, path: Path) -> Path:
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(TINY_DIRECTORY).save_pretrained(path)
    return path


def save_random_llama(
    path: Path, width: int, neurons: int, layers: int, heads: int, seed: int = 0, vocabulary: int | None = None
) -> Path:
    """Weights large enough that activations and answers differ between examples."""
    torch.manual_seed(seed)
    config = llama_config(width, neurons, layers, heads)
    config.vocab_size = vocabulary or config.vocab_size
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=1.5 / parameter.shape[1] ** 0.5)
    return save(model, path)


def save_poisoned(path: Path) -> Path:
    """A random Llama in which the embedding of the word `POISON` is NaN, and so is everything behind it."""
    save_random_llama(path, width=16, neurons=24, layers=2, heads=2)
    model = LlamaForCausalLM.from_pretrained(path)
    (word,) = AutoTokenizer.from_pretrained(path)(POISON, add_special_tokens=False).input_ids
    with torch.no_grad():
        model.get_input_embeddings().weight[word] = torch.nan
    return save(model, path)


def save_planted(path: Path, writes: float | None = None, choices: tuple[str, str] = (" banana", " plus")) -> Path:
    """A one-layer Llama in which one neuron fires if the text has the word ` house`, wherever it stands.

    `writes`: how strongly it speaks for the first of two answers and against the second, each one token; None for
    random weights, as those of the other neurons.

    Coordinates of the residual stream: 0 is always 1, 1 marks the word, 2 is empty, the rest is random content. Head 0
    looks for the mark and writes it to coordinate 2; head 1 averages the content of all tokens, so that the other
    neurons vary with the text too.
    """
    torch.manual_seed(0)
    width, neurons, size = 32, 48, 16
    config = llama_config(width, neurons, layers=1, heads=2)
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e8}
    model = LlamaForCausalLM(config)
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    (word,) = tokenizer(PLANTED_WORD, add_special_tokens=False).input_ids
    still = size // 2 - 1  # the coordinate of a head that rotary position turns least
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.zero_()
        layer = model.model.layers[0]
        model.model.embed_tokens.weight.normal_()
        model.model.embed_tokens.weight[:, :3] = torch.tensor([1.0, 0.0, 0.0])
        model.model.embed_tokens.weight[word, 1] = 6.0
        layer.self_attn.q_proj.weight[still, 0] = 40.0
        layer.self_attn.k_proj.weight[still, 1] = 40.0
        layer.self_attn.v_proj.weight[0, 1] = 1.0
        layer.self_attn.o_proj.weight[2, 0] = 4.0
        for content in range(size - 1):
            layer.self_attn.v_proj.weight[size + content, 3 + content] = 1.0
            layer.self_attn.o_proj.weight[3 + content, size + content] = 8.0
        layer.mlp.gate_proj.weight.normal_(std=0.3)
        layer.mlp.up_proj.weight.normal_(std=0.3)
        layer.mlp.gate_proj.weight[:, :3] = layer.mlp.up_proj.weight[:, :3] = 0.0
        layer.mlp.gate_proj.weight[PLANTED_NEURON] = layer.mlp.up_proj.weight[PLANTED_NEURON] = 0.0
        layer.mlp.gate_proj.weight[PLANTED_NEURON, 2] = 1.0
        layer.mlp.up_proj.weight[PLANTED_NEURON, 0] = 1.0
        layer.mlp.down_proj.weight.normal_(std=0.1)
        model.lm_head.weight.normal_()
        if writes is not None:
            first, second = (tokenizer(choice, add_special_tokens=False).input_ids for choice in choices)
            direction = model.lm_head.weight[first[0]] - model.lm_head.weight[second[0]]
            layer.mlp.down_proj.weight[:, PLANTED_NEURON] = writes * direction
    return save(model, path)


def projections(model: PreTrainedModel) -> list[nn.Module]:
    """The down projection of each layer of a dense model."""
    sites = [layer.sites[0] for layer in find_neurons(model)]
    return [site.projection for site in sites if isinstance(site, ProjectionInput)]
