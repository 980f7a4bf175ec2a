"""Small models whose tokenizers have a chat template, in the manner of well-known ones."""

from pathlib import Path

from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from skilljobs.checkpoints.source import TINY_DIRECTORY
from tests.models import save_random_llama

LOOP = "{% for m in messages %}"
CHATML = (
    LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENING = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
    + LOOP
    + "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
"""Begins with the opening token, trims its texts and has no system, as Gemma's."""
INSTRUCT = (
    "{{ bos_token }}" + LOOP + "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
"""The beginning of an answer is not marked, a space comes before it, and the system's text is dropped."""
DATED = "Today is {{ strftime_now('%d %b %Y') }}.\n" + CHATML
THINKING = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
HYBRID = CHATML.replace(
    "assistant\n{% endif",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif",
).replace("{{ m.content }}", "{{ '<think>\n\n</think>\n\n' if m.role == 'assistant' and loop.last }}{{ m.content }}")
"""Writes an empty thought in front of an answer if thinking is not enabled, as Qwen 3's."""


def chat_tokenizer(template: str | None) -> PreTrainedTokenizerBase:
    """The tiny model's tokenizer with an opening token, which it puts before texts, and the tokens of turns."""
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    tokenizer.add_special_tokens({"bos_token": "<s>", "extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = template
    return tokenizer


def save_chat_llama(path: Path, template: str | None, seed: int = 0) -> Path:
    """A Llama of random weights: 2 layers of 24 neurons."""
    tokenizer = chat_tokenizer(template)
    save_random_llama(path, 16, 24, 2, 2, seed, vocabulary=len(tokenizer))
    tokenizer.save_pretrained(path)
    return path
