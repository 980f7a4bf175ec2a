"""The naive job through nnsight and TransformerLens, where they are installed; each with a model of its own."""

from collections.abc import Callable

import torch

from skilljobs.checkpoints.source import ModelSource
from skilljobs.lm.load import load_model, load_tokenizer
from tests.benchmarks.naive import Forward


def nnsight(source: ModelSource) -> Forward:
    from nnsight import NNsight

    wrapped = NNsight(load_model(source, "float32", "cpu"))

    def forward(embeddings: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        with wrapped.trace(inputs_embeds=embeddings, attention_mask=mask, use_cache=False):
            kept = list().save()  # type: ignore[attr-defined]  # noqa: C408  nnsight gives `list` a `save`, not the literal
            for layer in wrapped.model.layers:
                kept.append(layer.mlp.down_proj.input.cpu())
            logits = wrapped.lm_head.output.save()
        return logits, kept

    return forward


def transformer_lens(source: ModelSource) -> Forward:
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(
        str(source.path), hf_model=load_model(source, "float32", "cpu"), tokenizer=load_tokenizer(source), device="cpu"
    )
    names = [f"blocks.{layer}.mlp.out.hook_in" for layer in range(bridge.cfg.n_layers)]

    def forward(embeddings: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        logits, cache = bridge.run_with_cache(
            embeddings, start_at_layer=0, attention_mask=mask, names_filter=names, return_cache_object=False
        )
        return logits, [cache[name].cpu() for name in names]

    return forward


RIVALS: dict[str, Callable[[ModelSource], Forward]] = {"nnsight": nnsight, "transformer_lens": transformer_lens}
