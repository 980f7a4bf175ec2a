"""The kinds of positions of a pass: each position of the soft prompt is one, then come text and answers.

The first token of a text is of no kind: it serves the model as a place to attend to, with activations like those of no
other token.
"""

import torch

from skilljobs.neurons.changes import LEFT_ALONE


def prompt_kinds(prompt_length: int) -> int:
    """The number of kinds before that of the text: with an empty prompt, the last token of the text stands for it."""
    return max(1, prompt_length)


def text_kind(prompt_length: int) -> int:
    """The kind of the tokens of a text."""
    return prompt_kinds(prompt_length)


def answer_kind(prompt_length: int) -> int:
    """The kind of the tokens of answers."""
    return prompt_kinds(prompt_length) + 1


def kind_count(prompt_length: int) -> int:
    """The number of kinds."""
    return prompt_kinds(prompt_length) + 2


def context_kinds(mask: torch.Tensor, prompt_length: int) -> torch.Tensor:
    """The kind of each position of text and prompt, batch x (T + P), int64; `mask` (batch x T) marks real tokens."""
    kinds = torch.where(mask, text_kind(prompt_length), LEFT_ALONE)
    kinds[torch.arange(len(mask), device=mask.device), mask.int().argmax(1)] = LEFT_ALONE
    if prompt_length == 0:
        kinds[:, -1] = 0
        return kinds
    prompt = torch.arange(prompt_length, device=mask.device).expand(len(mask), -1)
    return torch.cat([kinds, prompt], 1)


def answer_kinds(real: torch.Tensor, prompt_length: int) -> torch.Tensor:
    """The kind of each position of answers; `real` marks those that are no padding."""
    return torch.where(real, answer_kind(prompt_length), LEFT_ALONE)


def only_prompt(kinds: torch.Tensor, prompt_length: int) -> torch.Tensor:
    """`kinds` with nothing but the positions of the soft prompt."""
    return torch.where(kinds < prompt_kinds(prompt_length), kinds, LEFT_ALONE)
