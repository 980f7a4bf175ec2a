"""A frozen language model in three parts: embedding, body, and an LM head that is applied only where needed."""

from functools import cached_property

import torch
from torch import nn
from transformers import Cache, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from skilljobs.checkpoints.source import MASKED
from skilljobs.errors import InputError
from skilljobs.lm.batch import opening_length
from skilljobs.lm.head import LMHead, transform_before_head
from skilljobs.lm.limits import HEAD_TOLERANCE, MASK_TOLERANCE, UNSUPPORTED, check_masked, shortest_window
from skilljobs.lm.load import first_line
from skilljobs.lm.memory import is_out_of_memory
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.quantization import is_quantized
from skilljobs.lm.ranks import ALONE, Ranks, is_loss_of_rank
from skilljobs.lm.tensor_parallel import sites_of_rank
from skilljobs.lm.tree import TokenTree, TreeBatch
from skilljobs.neurons.ffn import chosen_sites, find_neurons
from skilljobs.neurons.sites import LayerSites
from skilljobs.neurons.units import find_units
from skilljobs.selection import Selection
from skilljobs.stats.neurons import LayerNeurons, NeuronName

MAX_TREE_POSITIONS = 4096


class FrozenLM:
    """A transformers model that is run in parts, so that only the logits that are needed are computed."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        selection: Selection | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`selection` says which neurons are read; None: all. `ranks` are those that hold the model together."""
        selection = selection or Selection()
        self.model = model
        self.ranks = ranks
        self.tokenizer = tokenizer
        self.is_masked: bool = type(model).__name__.endswith(MASKED)
        """Whether it is a masked language model (see `skilljobs.lm.masked`)."""
        self.body: nn.Module = model.base_model if model.base_model is not model else getattr(model, "model", model)
        self.embedding: nn.Module = model.get_input_embeddings()
        layers = find_neurons(model, selection.ffn)
        self.layers: list[nn.Module] = [layer.module for layer in layers]
        self.sites: list[LayerSites] = chosen_sites(find_units(model, layers, selection.units), selection, len(layers))
        """Where neurons, or other units, are read, layer by layer."""
        config = model.config.get_text_config()
        self.config = config
        self.width: int = config.hidden_size
        if self.is_masked:
            check_masked(model, self.embedding)
        scale: float = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        softcap = getattr(config, "final_logit_softcapping", None)
        self.head = LMHead.of(model.get_output_embeddings(), scale, softcap, transform_before_head(model))
        self._layer_types: list[str] = sorted(set(getattr(config, "layer_types", None) or []))
        self.window: int | None = shortest_window(config)
        """The shortest attention window that the configuration names."""
        self._check_head()
        if ranks.are_several:
            self.sites = sites_of_rank(self.body, self.sites, ranks, self.device)
        self._respects_masks = not self.is_masked and self._test_masks()

    @property
    def neurons(self) -> tuple[LayerNeurons, ...]:
        """The neurons that are read, layer by layer."""
        return tuple(layer.neurons for layer in self.sites)

    def place(self, name: NeuronName) -> tuple[int, int]:
        """The place of a neuron's layer among those that are read, and its place in arrays over that layer.

        Raises:
            LookupError: it is not read.
        """
        for number, neurons in enumerate(self.neurons):
            if neurons.layer == name.layer:
                return number, neurons.place(name.neuron, name.expert)
        raise LookupError(f"layer {name.layer} is not read")

    @cached_property
    def opening(self) -> int:
        """The number of tokens that the tokenizer puts before a text."""
        return opening_length(self.tokenizer)

    @property
    def mask_token(self) -> int:
        """The token at which a masked language model gives its answer.

        Raises:
            InputError: its tokenizer has none.
        """
        mask = self.tokenizer.mask_token_id
        if not isinstance(mask, int):
            raise InputError("the model's tokenizer has no mask token, at which it would give its answer")
        return mask

    @property
    def device(self) -> torch.device:
        return next(self.embedding.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.embedding.parameters()).dtype

    @property
    def precision(self) -> torch.dtype:
        """The type whose rounding errors are to be expected: kernels for packed weights compute in 16 bits or less."""
        return torch.bfloat16 if is_quantized(self.model) else self.dtype

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens that the model has embeddings for."""
        return int(self.config.vocab_size)

    @property
    def attention(self) -> str:
        """The attention implementation that the model was loaded with."""
        return str(self.config._attn_implementation)

    def new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.config)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.embedding(ids)
        return embedded

    def run_body(
        self, embeddings: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Return the last hidden states, batch x new tokens x d_model, and add the new tokens to `cache`.

        `mask` is batch x (cached + new), bool; `positions` is batch x new. Both are required because the defaults of
        transformers also count padding in the positions.
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

    def run_encoder(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states of whole rows in a masked language model, batch x positions x d_model.

        `mask` is batch x positions, bool; padding stands on the right, so that the model's own positions are right.
        """
        output = self.body(inputs_embeds=embeddings, attention_mask=None if bool(mask.all()) else mask.long())
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def plain_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the float32 logits of the model's own forward pass over token ids, batch x positions x vocabulary."""
        logits: torch.Tensor = self.model(input_ids=ids, **self._uncached).logits.float()
        return logits

    @property
    def _uncached(self) -> dict[str, bool]:
        return {} if self.is_masked else {"use_cache": False}

    def run_body_with_mask(
        self, embeddings: torch.Tensor, attended: torch.Tensor, positions: torch.Tensor, cache: Cache | None
    ) -> torch.Tensor:
        """Return the last hidden states, batch x new tokens x d_model, under a custom attention mask.

        `attended` is batch x new x (cached + new), bool: which tokens each new token attends to. `positions` is batch x
        new. This is valid only for as many positions as `takes_trees` allows.
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
        """Return whether the model can read trees of `positions` positions in one forward pass.

        It can if it respects custom masks, no attention window is shorter, and the mask, whose size grows with the
        square of `positions`, is not too large.
        """
        return self._respects_masks and positions <= min(self.window or MAX_TREE_POSITIONS, MAX_TREE_POSITIONS)

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Refuse a model whose logits are not simply its LM head's output, since scores would be silently wrong.

        Raises:
            InputError: The logits differ from the LM head's output, or are not finite.
        """
        ids = torch.arange(1, 9, device=self.device)[None] % self.config.vocab_size
        try:
            whole = self.plain_logits(ids)
        except UNSUPPORTED as error:
            if is_out_of_memory(error) or is_loss_of_rank(error):
                raise
            raise InputError(f"{type(self.model).__name__} cannot be run on token ids alone: {error}") from error
        hidden = self.body(ids, **self._uncached).last_hidden_state
        try:
            parts = self.head.logits(self.head.states(hidden)).to(whole.device)
        except UNSUPPORTED as error:
            if is_out_of_memory(error) or is_loss_of_rank(error):
                raise
            raise InputError(
                f"{type(self.model).__name__}: its LM head cannot be run by itself: {first_line(error)}"
            ) from error
        if not bool(whole.isfinite().all()):
            kind = str(self.dtype).removeprefix("torch.")
            advice = "" if self.dtype == torch.float32 else ": use --dtype float32, or bfloat16 in place of float16"
            raise InputError(f"{type(self.model).__name__}: its logits are not finite in {kind}{advice}")
        difference = (whole - parts).abs().max().item()
        if not difference <= HEAD_TOLERANCE.get(self.precision, 1e-4) * (1 + whole.abs().max().item()):
            raise InputError(
                f"{type(self.model).__name__}: its logits are not its LM head's output"
                f" (they differ by {difference:.3g})"
            )

    @torch.inference_mode()
    def _test_masks(self) -> bool:
        """Return whether a small tree gives the states that its branches have alone, with padding and after a cache."""
        if not set(self._layer_types) <= {"full_attention", "sliding_attention"}:
            return False
        texts, continuations = [[1, 2, 3, 4, 5], [6, 7]], [[8, 9, 10, 11], [8, 12, 13, 14]]
        trees = TreeBatch([TokenTree.of(continuations)] * len(texts), self.device)
        ids, mask = left_padded(texts, 0, self.device)
        positions = torch.cat([text_positions(mask), mask.sum(1, keepdim=True) + trees.depths], 1)
        attended, length, cache = trees.attended(mask), ids.shape[1], self.new_cache()
        try:
            embeddings = self.embed(torch.cat([ids, trees.ids], 1) % self.config.vocab_size)
            uncached = self.run_body_with_mask(embeddings, attended, positions, None).float()
            self.run_body(embeddings[:, :length], mask, positions[:, :length], cache)
            cached = self.run_body_with_mask(embeddings[:, length:], attended[:, length:], positions[:, length:], cache)
        except UNSUPPORTED as error:
            if is_out_of_memory(error) or is_loss_of_rank(error):
                raise
            return False  # architectures that do not support such a mask fail in different ways
        for row, text in enumerate(texts):
            for continuation, nodes in zip(continuations, ([0, 1, 2], [0, 3, 4]), strict=True):
                alone = torch.tensor([text + continuation[:-1]], device=self.device) % self.config.vocab_size
                expected = self.body(alone, use_cache=False).last_hidden_state[0, -3:].float()
                for states in (uncached[row, length:][nodes], cached[row][nodes].float()):
                    distance = (states - expected).norm() / expected.norm()
                    if not distance <= MASK_TOLERANCE.get(self.precision, 1e-3):
                        return False
        return True
