"""Letting a model write: requests in, texts out."""

from collections.abc import Sequence

import torch

from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded

TEMPERATURE, TOP_P = 0.8, 0.95
LEAST_TOKENS, MOST_TOKENS = 8, 120
MOST_TRIES = 3


@torch.inference_mode()
def write_texts(lm: FrozenLM, requests: Sequence[str], seed: int) -> list[str]:
    """A sampled text behind each request, up to a blank line. The same batch and seed give the same texts.

    A text that comes out empty is drawn again, `MOST_TRIES` times in all; it may be empty still.
    """
    torch.manual_seed(seed)
    texts = [""] * len(requests)
    for _ in range(MOST_TRIES):
        empty = [place for place, text in enumerate(texts) if not text]
        if empty:
            for place, text in zip(empty, _sampled(lm, [requests[place] for place in empty]), strict=True):
                texts[place] = text.strip().split("\n\n")[0].strip()
    return texts


def _sampled(lm: FrozenLM, requests: Sequence[str]) -> list[str]:
    rows = [list(lm.tokenizer(request)["input_ids"]) for request in requests]
    ids, mask = left_padded(rows, 0, lm.device)
    written = lm.model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        min_new_tokens=LEAST_TOKENS,
        max_new_tokens=MOST_TOKENS,
        pad_token_id=lm.tokenizer.eos_token_id,
    )
    texts: list[str] = lm.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
    return texts
