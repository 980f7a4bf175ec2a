"""Small masked language models made on the spot, with a tokenizer of words, and rows that they can read."""

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.architectures import MOST_PARAMETERS, randomized, small_config

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "[MASK]"]
WORDS = ["good", "bad", "fine", "film", "was", "the", "it", "very", "not", ":", "a", "plot", "actor", "dull", "bright"]


def masked_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", pad_token="<pad>", sep_token="</s>", unk_token="<unk>",
        mask_token="[MASK]",
    )  # fmt: skip


def build_masked(model_type: str) -> PreTrainedModel:
    """A model of random weights, all of which matter.

    Raises:
        ValueError: the sizes of `tests.architectures` make no small model of this type.
    """
    torch.manual_seed(0)
    config = small_config(CONFIG_MAPPING[model_type])
    config.vocab_size = len(SPECIAL) + len(WORDS)
    config.pad_token_id = 1
    if getattr(config, "is_decoder", False):
        config.is_decoder = False
    with torch.device("meta"):
        if sum(weight.numel() for weight in AutoModelForMaskedLM.from_config(config).parameters()) > MOST_PARAMETERS:
            raise ValueError(f"{model_type} is large")
    model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
    return randomized(model)


def save_masked(path: Path, model_type: str = "bert") -> Path:
    build_masked(model_type).save_pretrained(path)
    masked_tokenizer().save_pretrained(path)
    return path


def review_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of varying length with the choices ` good` and ` bad`, of which the right one stands in the text."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        answer = rng.randrange(2)
        words = [rng.choice(WORDS[2:]) for _ in range(rng.randint(2, 12))]
        words.insert(rng.randrange(len(words)), WORDS[answer])
        rows.append(
            {
                "example_id": f"row-{number}",
                "text": " ".join(words) + " it was",
                "choices": [" good", " bad"],
                "answer": answer,
                "words": len(words),
                "is_good": answer == 0,
            }
        )
    return rows
