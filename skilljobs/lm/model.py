"""A frozen causal language model in three parts: embedding, body, and LM head applied where it is asked for."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from skilljobs.errors import InputError
from skilljobs.lm.ffn import down_projections, neuron_count, neurons_read

LOGITS_AT_ONCE = 1 << 25
"""Logits held at a time, rows x vocabulary: 128 MiB in float32."""

HEAD_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.05}


class FrozenLM:
    """Runs a transformers model by parts, so that no logit is computed that nobody reads."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.body: nn.Module = model.base_model
        self.embedding: nn.Module = model.get_input_embeddings()
        self.projections = down_projections(model)
        self.neurons_per_layer = [neuron_count(projection) for projection in self.projections]
        config = model.config.get_text_config()
        self.config = config
        self.width: int = config.hidden_size
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._scale: float = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        self._check_head()

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

    def log_probabilities(self, hidden: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probability of token `targets[i]` after the position whose hidden state is `hidden[rows[i]]`.

        `rows` ascends. The LM head runs once per row of `hidden` (rows x d_model), a bounded number at a time.
        Returns float32, one value a target.
        """
        head = next(self.model.get_output_embeddings().parameters()).device
        hidden, rows, targets = hidden.to(head), rows.to(head), targets.to(head)
        step = max(1, LOGITS_AT_ONCE // self.config.vocab_size)
        pieces = []
        for start in range(0, len(hidden), step):
            logits = self.logits(hidden[start : start + step])
            begin, end = torch.searchsorted(rows, torch.tensor([start, start + step], device=rows.device)).tolist()
            here = rows[begin:end] - start
            pieces.append(logits[here, targets[begin:end]] - logits.logsumexp(-1)[here])
        return torch.cat(pieces).to(self.device)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Float32 logits at the given hidden states, as the model's own forward has them."""
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden).float()
        if self._scale != 1.0:
            logits = logits * self._scale
        if self._softcap is not None:
            logits = torch.tanh(logits / self._softcap) * self._softcap
        return logits

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Refuse a model whose logits are more than its LM head: scores would be silently wrong."""
        ids = torch.arange(1, 9, device=self.device)[None] % self.config.vocab_size
        whole = self.model(ids, use_cache=False).logits.float()
        with neurons_read(self.projections, 1, "last"):
            parts = self.logits(self.body(ids, use_cache=False).last_hidden_state).to(whole.device)
        error = (whole - parts).abs().max().item()
        if not error <= HEAD_TOLERANCE.get(self.dtype, 1e-4) * (1 + whole.abs().max().item()):
            raise InputError(
                f"{type(self.model).__name__}: its logits are not its LM head's output (they differ by {error:.3g})"
            )


def left_padded(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, rows x longest, padded on the left, and the mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([[padding] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) >= width - lengths[:, None]


def right_padded(
    rows: Sequence[Sequence[int]], padding: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, rows x longest, padded on the right, and the mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([list(row) + [padding] * (width - len(row)) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) < lengths[:, None]
