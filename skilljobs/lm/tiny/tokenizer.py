"""The tokenizer of the tiny model: byte-level BPE in which every digit is a separate token."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<end>"
PADDING = "<pad>"
VOCABULARY = 512

# A number is split into a sign or space and its digits. Between numbers, a line's label up to its colon and a run of
# words are one piece each, so "\n  choice:" and " divided by" can become one token. No piece spans the colon that ends
# a text and the answer after it, so tokenizing them together or separately gives the same tokens.
_PIECES = Regex(r"\d| ?-(?=\d)|[ \n]*[A-Za-z]+:|(?: ?[A-Za-z]+)+| (?=\d)|[^\dA-Za-z:\n ]+|[ \n]+|:")


def train_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer whose merges are learned from `texts`.

    All 256 bytes are in the vocabulary, so any text can be encoded and decoded without loss.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PADDING, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PADDING,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
