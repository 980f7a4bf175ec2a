"""A frozen causal language model in three parts: embedding, body, and LM head applied where it is asked for."""

import torch
from torch import nn
from transformers import Cache, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from skilljobs.errors import InputError
from skilljobs.lm.ffn import layers_with_projections, neuron_count, neurons_read
from skilljobs.lm.head import LMHead
from skilljobs.lm.memory import is_out_of_memory
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.tree import TokenTree, TreeBatch

HEAD_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.05}

MASK_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Relative. A model that passes over the mask is off by about 1."""

MOST_TREE_POSITIONS = 4096


class FrozenLM:
    """Runs a transformers model by parts, so that no logit is computed that nobody reads."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.body: nn.Module = model.base_model
        self.embedding: nn.Module = model.get_input_embeddings()
        self.layers, self.projections = map(list, zip(*layers_with_projections(model), strict=True))
        self.neurons_per_layer = [neuron_count(projection) for projection in self.projections]
        config = model.config.get_text_config()
        self.config = config
        self.width: int = config.hidden_size
        scale: float = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        self.head = LMHead.of(model.get_output_embeddings(), scale, getattr(config, "final_logit_softcapping", None))
        self._layer_types: list[str] = sorted(set(getattr(config, "layer_types", None) or []))
        self._window: int | None = getattr(config, "sliding_window", None)
        self._check_head()
        self._heeds_masks = self._try_mask()

    @property
    def device(self) -> torch.device:
        return next(self.embedding.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.embedding.parameters()).dtype

    def new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.config)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.embedding(ids)
        return embedded

    def run_body(
        self, embeddings: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Last hidden states, batch x new tokens x d_model; `cache` grows by the new tokens.

        `mask` is batch x (cached + new) of bool; `positions` is batch x new. Both are always given: the defaults of
        transformers number the padding too.
        """
        output = self.body(
            inputs_embeds=embeddings,
            attention_mask=None if bool(mask.all()) else mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def run_attending(
        self, embeddings: torch.Tensor, attended: torch.Tensor, positions: torch.Tensor, cache: Cache | None
    ) -> torch.Tensor:
        """Last hidden states where `attended` says who sees whom: batch x new x (cached + new) of bool.

        Only where `takes_trees` allows it.
        """
        mask = torch.zeros(attended.shape, dtype=embeddings.dtype, device=embeddings.device)
        mask = mask.masked_fill_(~attended, torch.finfo(mask.dtype).min)[:, None]
        output = self.body(
            inputs_embeds=embeddings,
            attention_mask=dict.fromkeys(self._layer_types, mask) if len(self._layer_types) > 1 else mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def takes_trees(self, positions: int) -> bool:
        """Whether trees of so many positions are read at once: the model heeds masks, no window ends before, and the
        mask, which grows with the square, is not too large."""
        return self._heeds_masks and positions <= min(self._window or MOST_TREE_POSITIONS, MOST_TREE_POSITIONS)

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Refuse a model whose logits are more than its LM head: scores would be silently wrong."""
        ids = torch.arange(1, 9, device=self.device)[None] % self.config.vocab_size
        whole = self.model(ids, use_cache=False).logits.float()
        with neurons_read(self.projections, slice(-1, None), "last"):
            parts = self.head.logits(self.body(ids, use_cache=False).last_hidden_state).to(whole.device)
        error = (whole - parts).abs().max().item()
        if not error <= HEAD_TOLERANCE.get(self.dtype, 1e-4) * (1 + whole.abs().max().item()):
            raise InputError(
                f"{type(self.model).__name__}: its logits are not its LM head's output (they differ by {error:.3g})"
            )

    @torch.inference_mode()
    def _try_mask(self) -> bool:
        """Whether a small tree gives the states that its branches have alone: with padding, and behind a cache."""
        if not set(self._layer_types) <= {"full_attention", "sliding_attention"}:
            return False
        texts, continuations = [[1, 2, 3, 4, 5], [6, 7]], [[8, 9, 10, 11], [8, 12, 13, 14]]
        trees = TreeBatch([TokenTree.of(continuations)] * len(texts), self.device)
        ids, mask = left_padded(texts, 0, self.device)
        positions = torch.cat([text_positions(mask), mask.sum(1, keepdim=True) + trees.depths], 1)
        attended, length, cache = trees.attended(mask), ids.shape[1], self.new_cache()
        try:
            embeddings = self.embed(torch.cat([ids, trees.ids], 1) % self.config.vocab_size)
            found = self.run_attending(embeddings, attended, positions, None).float()
            self.run_body(embeddings[:, :length], mask, positions[:, :length], cache)
            cached = self.run_attending(embeddings[:, length:], attended[:, length:], positions[:, length:], cache)
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            return False  # an architecture that takes no such mask says so in its own way
        for row, text in enumerate(texts):
            for continuation, nodes in zip(continuations, ([0, 1, 2], [0, 3, 4]), strict=True):
                alone = torch.tensor([text + continuation[:-1]], device=self.device) % self.config.vocab_size
                expected = self.body(alone, use_cache=False).last_hidden_state[0, -3:].float()
                for states in (found[row, length:][nodes], cached[row][nodes].float()):
                    distance = (states - expected).norm() / expected.norm()
                    if not distance <= MASK_TOLERANCE.get(self.dtype, 1e-3):
                        return False
        return True
