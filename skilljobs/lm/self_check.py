"""Checking, when a model is loaded, that reading it in parts gives what a plain forward pass of it gives.

A model may add something to its token ids that embeddings do not carry (Gemma-3n's per-layer inputs), have an attention
window that its configuration does not name, or keep a state that a copied cache does not hold: scores and activations
would be silently wrong.
"""

import math
from collections.abc import Iterator

import torch

from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample, opening_length
from skilljobs.lm.forward import score_batch
from skilljobs.lm.limits import UNSUPPORTED
from skilljobs.lm.load import first_line
from skilljobs.lm.masked import prompt_window
from skilljobs.lm.memory import is_out_of_memory
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.ranks import is_loss_of_rank
from skilljobs.neurons.experts import experts_of_transformers
from skilljobs.neurons.sites import Window, capture_activations

TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.3, torch.float16: 0.1}
"""Allowed error, relative to 1 + the largest value. A wrong mask or a lost input is off by about 1."""
SHORT = 24
LONGEST_WINDOW = 256
"""A window up to this long is exceeded by the check; longer ones are only entered, to keep loading fast."""
PROMPT_LENGTH = 3
FIRST_ID = 5
"""Lower ids are often special tokens."""


@torch.inference_mode()
def check_reading_in_parts(lm: FrozenLM) -> float:
    """Compare a padded batch of two texts, a prompt and branching continuations with plain passes over their ids.

    Returns:
        The largest error, relative to 1 + the largest value.

    Raises:
        InputError: the model cannot be read in parts, or its activations or scores differ.
    """
    name, largest = type(lm.model).__name__, 0.0
    for length in _lengths(lm):
        try:
            worst = lm.ranks.largest(max(_errors(lm, length), default=math.inf))
        except UNSUPPORTED as error:
            if is_out_of_memory(error) or is_loss_of_rank(error):
                raise
            raise InputError(
                f"{name} cannot be read in parts (text and prompt, then answers): {first_line(error)}"
            ) from error
        if not worst <= TOLERANCE.get(lm.precision, 2e-3):
            raise InputError(
                f"{name} is not supported: read with a prompt of its own token embeddings, {length} tokens of text give"
                f" activations or scores that differ from those of a plain forward pass (relative error {worst:.2g})"
            )
        largest = max(largest, worst)
    return largest


def _lengths(lm: FrozenLM) -> Iterator[int]:
    yield SHORT
    if lm.window is not None and lm.window <= LONGEST_WINDOW:
        yield lm.window + SHORT


def _errors(lm: FrozenLM, length: int) -> Iterator[float]:
    if lm.is_masked:
        yield from _masked_errors(lm, length)
        return
    usual = max(1, min(lm.vocabulary_size, 1000) - FIRST_ID)
    ids = [FIRST_ID + (7919 * place) % usual for place in range(1, 3 * length)]
    prompt, first, second, third = ids[:PROMPT_LENGTH], ids[-1], ids[-2], ids[-3]
    continuations = [[first, second, third], [first, third, second], [third]]
    batch = [
        TokenizedExample(text, continuations, 0, True) for text in (ids[PROMPT_LENGTH:][:length], ids[-length // 2 :])
    ]
    vectors = lm.embed(torch.tensor(prompt, device=lm.device)[None])[0]
    scored = score_batch(lm, vectors, batch, "mean")
    for row, example in enumerate(batch):
        for branch, continuation in enumerate(continuations):
            activations, score = _plain(lm, example.text, prompt, continuation)
            yield from _relative(scored.log_probabilities[row][branch].reshape(1), score.reshape(1))
            if branch == 0:
                for site, layer, expected in zip(lm.sites, scored.activations, activations, strict=True):
                    # rounding may send a token to another expert, which in float32 happens only near a tie
                    compared = layer.shape[-1] if lm.dtype is torch.float32 else site.dense_columns
                    if compared:
                        yield from _relative(layer[row, :, :compared], expected[0, :, :compared])


def _masked_errors(lm: FrozenLM, length: int) -> Iterator[float]:
    """As `_errors`, for two rows of a masked language model, one of which is padded."""
    usual, opening = max(1, min(lm.vocabulary_size, 1000) - FIRST_ID), opening_length(lm.tokenizer)
    ids = [FIRST_ID + (7919 * place) % usual for place in range(1, 3 * length)]
    ids = [token if token != lm.mask_token else token - 1 for token in ids]
    prompt, words = ids[:PROMPT_LENGTH], ids[-3:]
    rows = [
        [*ids[PROMPT_LENGTH:][:length], lm.mask_token, *ids[-length // 2 :]],
        [*ids[-length:], lm.mask_token],
    ]
    batch = [TokenizedExample(row, [[word] for word in words], 0, True) for row in rows]
    vectors = lm.embed(torch.tensor(prompt, device=lm.device)[None])[0]
    scored = score_batch(lm, vectors, batch, "mean")
    for number, row in enumerate(rows):
        whole = [*row[:opening], *prompt, *row[opening:]]
        ids_alone = torch.tensor([whole], device=lm.device)
        with capture_activations(lm.sites, prompt_window(lm, 1, len(prompt), "mean")) as activations:
            logits = lm.plain_logits(ids_alone)[0, whole.index(lm.mask_token)]
        expected = torch.log_softmax(logits, -1)[torch.tensor(words, device=logits.device)].double()
        yield from _relative(scored.log_probabilities[number], expected)
        for layer, plain in zip(scored.activations, activations, strict=True):
            yield from _relative(layer[number], plain[0])


def _plain(
    lm: FrozenLM, text: list[int], prompt: list[int], continuation: list[int]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The activations at the prompt and the score of the continuation, from unpadded passes over token ids.

    The score is that of transformers' own forward pass, even where experts are read in another.
    """
    start = len(text) + len(prompt)
    ids = torch.tensor([[*text, *prompt, *continuation]], device=lm.device)
    with capture_activations(lm.sites, Window(1, slice(len(text), start), "mean")) as activations:
        lm.model(input_ids=ids, use_cache=False)
    with experts_of_transformers(lm.model):
        logits = lm.model(input_ids=ids, use_cache=False).logits[0, start - 1 : -1].float()
    tokens = torch.tensor(continuation, device=logits.device)
    return activations, torch.log_softmax(logits, -1).gather(1, tokens[:, None]).double().sum()


def _relative(found: torch.Tensor, expected: torch.Tensor) -> Iterator[float]:
    """The largest difference, relative to 1 + the largest expected value; none where the plain pass is not finite."""
    found, expected = found.cpu(), expected.cpu()
    if bool(expected.isfinite().all()):
        error = float((found - expected).abs().max() / (1 + expected.abs().max()))
        yield math.inf if math.isnan(error) else error
