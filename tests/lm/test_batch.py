"""Texts and answers are tokenized as the model would meet them."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.errors import InputError
from skilljobs.lm.batch import continuation_ids, text_ids, tokenize
from skilljobs.tasks.base import Example

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.:?ABQ"
TOKENS = ["<unk>", "<s>", "</s>", "\u2581", "\n", *LETTERS]


def prefixing(closing: bool = False) -> PreTrainedTokenizerFast:
    """Puts a space before whatever it is given, and `<s>` before texts, as the tokenizers of Llama 2 and Mistral do."""
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(TOKENS)}, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Replace("\u2581", " ")
    end = " </s>" if closing else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<s> $A{end}", pair=f"<s> $A{end} $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_level(eos: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(TOKENS)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, unk_token="<unk>")


def shown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    return [str(token) for token in tokenizer.convert_ids_to_tokens(ids)]


def test_no_second_space_before_an_answer() -> None:
    tokenizer = prefixing()
    rows = continuation_ids(tokenizer, [" 5", "5", " 1 2"])
    assert [shown(tokenizer, row) for row in rows] == [
        ["\u2581", "5"], ["5"], ["\u2581", "1", "\u2581", "2"],
    ]  # fmt: skip
    together = tokenizer("ab 5", add_special_tokens=False)["input_ids"]
    assert tokenizer("ab", add_special_tokens=False)["input_ids"] + rows[0] == together


def test_the_bundled_tokenizer_gives_answers_as_they_are() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    assert continuation_ids(tokenizer, [" 161"]) == tokenizer([" 161"], add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("closing", [False, True])
def test_each_text_loses_the_end_token_that_was_added_and_no_other(closing: bool) -> None:
    tokenizer = prefixing(closing)
    for texts in (["ab</s>", "cd", "ef"], ["cd", "ab</s>", "ef"]):
        rows = dict(zip(texts, (shown(tokenizer, row) for row in text_ids(tokenizer, texts)), strict=True))
        assert rows["cd"] == ["<s>", "\u2581", "c", "d"]
        assert rows["ef"][-1] == "f"
        assert rows["ab</s>"][-2:] == ["b", "</s>"]


def test_a_text_that_brings_its_opening_token_gets_no_second_one() -> None:
    tokenizer = prefixing()
    with_own, without = text_ids(tokenizer, ["<s>ab", "ab"])
    assert with_own[0] == without[0] == tokenizer.bos_token_id
    assert with_own.count(tokenizer.bos_token_id) == without.count(tokenizer.bos_token_id) == 1


def test_a_tokenizer_without_an_end_token_needs_one() -> None:
    examples = [Example("a", "a", "test", "Q", choices=("1", "2"), answer=0)]
    with pytest.raises(InputError, match=r"no end token.*--answer-end"):
        tokenize(byte_level(None), examples, None)
    (ended,) = tokenize(byte_level(None), examples, ".")
    assert [shown(byte_level(None), row) for row in ended.continuations] == [["1", "."], ["2", "."]]
    (by_eos,) = tokenize(byte_level("</s>"), examples, None)
    assert [row[-1] for row in by_eos.continuations] == [2, 2]
