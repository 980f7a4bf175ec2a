"""Sampling texts from a model."""

from collections.abc import Sequence

import torch

from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded

TEMPERATURE, TOP_P = 0.8, 0.95
MIN_TOKENS, MAX_TOKENS = 8, 120
MAX_TRIES = 3


@torch.inference_mode()
def write_texts(lm: FrozenLM, requests: Sequence[str], seed: int) -> list[str]:
    """Sample a text that continues each request, up to a blank line.

    The same batch and seed give the same texts. A text that comes out empty is sampled again, up to `MAX_TRIES` times
    in total, and may still be empty after that.
    """
    torch.manual_seed(seed)
    texts = [""] * len(requests)
    for _ in range(MAX_TRIES):
        empty = [index for index, text in enumerate(texts) if not text]
        if empty:
            for index, text in zip(empty, _sample(lm, [requests[index] for index in empty]), strict=True):
                texts[index] = text.strip().split("\n\n")[0].strip()
    return texts


def _sample(lm: FrozenLM, requests: Sequence[str]) -> list[str]:
    rows = [list(lm.tokenizer(request)["input_ids"]) for request in requests]
    ids, mask = left_padded(rows, 0, lm.device)
    written = lm.model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        min_new_tokens=MIN_TOKENS,
        max_new_tokens=MAX_TOKENS,
        pad_token_id=lm.tokenizer.eos_token_id,
    )
    texts: list[str] = lm.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
    return texts
