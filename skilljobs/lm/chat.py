"""A model's chat template: a user's turn, and in front of the assistant's answer the place of the soft prompt."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.load import first_line, load_tokenizer

DATE = datetime.datetime(2024, 7, 26)
"""What templates that write today's date get in its place (it is what Llama 3's falls back to), so that a job gives the
same texts on any day."""
_NOW = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
QUESTION, ANSWER = "What is two plus three?", "It is five."
Turn = tuple[str, str]
"""What the user says, and what the assistant answers."""


@dataclass(frozen=True)
class Chat:
    """A model's chat template, with a system text or without.

    `ending` is what follows the last user's text, up to the place of the soft prompt; `before_answer` is the white
    space that the template puts in front of an answer. `answer_end` is the text that ends an answer; None for the
    tokenizer's end token.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    system: str | None
    ending: str = ""
    before_answer: str = ""
    answer_end: str | None = None

    def text(self, user: str, shots: Sequence[Turn] = ()) -> str:
        """The conversation up to where the assistant's answer to `user` begins; `shots` are the turns before it.

        Raises:
            ValueError: the template refuses, changes or leaves out one of the texts, or one of them holds a special
                token.
        """
        said = [text for asked, answer in shots for text in (asked, answer.strip())] + [user]
        for text in said:
            self._refuse_special_tokens(text)
        try:
            rendered = self._render(said, generate=True)
        except Exception as error:  # templates raise what they like
            raise ValueError(f"the chat template refuses it: {first_line(error)}") from error
        self._check_order(rendered, said)
        if not rendered.endswith(self.ending):
            raise ValueError("the chat template does not end it with the beginning of an answer")
        return rendered

    def answer(self, text: str) -> str:
        """An answer as it stands behind the soft prompt.

        Raises:
            ValueError: it is nothing but white space, or holds a special token.
        """
        if not text.strip():
            raise ValueError(f"its answer {text!r} is nothing but white space")
        self._refuse_special_tokens(text)
        return self.before_answer + text.strip()

    def _render(self, said: Sequence[str], generate: bool) -> str:
        roles = ("user", "assistant")
        messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        options: dict[str, Any] = {"enable_thinking": False}  # templates that do not know it ignore it
        return str(
            self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, tokenize=False, add_generation_prompt=generate, **options
            )
        )

    def _check_order(self, rendered: str, said: Sequence[str]) -> None:
        """Refuse a template that changes a text other than the white space at its ends, or leaves it out."""
        place = 0
        for text in [self.system or "", *said]:
            place = rendered.find(text.strip(), place)
            if place < 0:
                raise ValueError(f"the chat template changes or leaves out {_cut(text.strip())!r}")
            place += len(text.strip())

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        special = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset(special - {self.tokenizer.unk_token_id})

    def _refuse_special_tokens(self, text: str) -> None:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        found = next((number for number in ids if number in self._special_ids), None)
        if found is not None:
            token = self.tokenizer.convert_ids_to_tokens(found)
            raise ValueError(f"its text holds {token!r}, which would be read as a special token")


def read_chat(source: ModelSource, system: str | None, answer_end: str | None) -> Chat:
    """The chat template of a model, checked with a short conversation.

    Args:
        system: the text of the system; None for what the template does without one.
        answer_end: what ends an answer; None for the token with which the template ends the assistant's turn.

    Raises:
        InputError: there is no template, it takes no system text, or it does not put the assistant's answer right
            behind its beginning of the assistant's turn.
    """
    tokenizer, whose = load_tokenizer(source), f"the chat template of the model {source.name}"
    try:
        template = str(tokenizer.get_chat_template())
    except ValueError as error:
        raise InputError(f"--chat: the tokenizer of the model {source.name} has no chat template") from error
    chat = Chat(tokenizer, _with_fixed_date(template, whose), system)
    if system is not None:
        _check_system(chat, whose)
    asked, answered = _rendered(chat, [QUESTION], whose), _rendered(chat, [QUESTION, ANSWER], whose)
    before, found, after = answered.removeprefix(asked).partition(ANSWER)
    if QUESTION not in asked or not answered.startswith(asked) or not found or before.strip():
        raise InputError(
            f"{whose} does not put an answer right behind the beginning of the assistant's turn:"
            " the soft prompt would not stand in front of the answer"
        )
    ending = asked.rpartition(QUESTION)[2]
    return Chat(tokenizer, chat.template, system, ending, before, answer_end or _end_of_turn(tokenizer, after, whose))


def _check_system(chat: Chat, whose: str) -> None:
    assert chat.system is not None
    try:
        rendered = chat._render([QUESTION], generate=True)
        chat._check_order(rendered, [QUESTION])
        chat._refuse_special_tokens(chat.system)
    except Exception as error:
        raise InputError(f"{whose} does not take --system {_cut(chat.system)!r}: {first_line(error)}") from error


def _rendered(chat: Chat, said: Sequence[str], whose: str) -> str:
    try:
        return chat._render(said, generate=len(said) % 2 == 1)
    except Exception as error:
        raise InputError(f"{whose} cannot be used: {first_line(error)}") from error


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, after: str, whose: str) -> str | None:
    """What ends the assistant's turn: a token, and the white space in front of it; None if the template writes nothing
    behind an answer."""
    ended = after.strip()
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values()} | {str(tokenizer.eos_token)}
    end = max((token for token in tokens if token and ended.startswith(token)), key=len, default=None)
    if end is None and ended:
        raise InputError(f"{whose} ends an answer with {_cut(ended)!r}: say what ends an answer (--answer-end TEXT)")
    return None if end is None else after[: after.index(end)] + end


def _with_fixed_date(template: str, whose: str) -> str:
    fixed = _NOW.sub(lambda call: repr(DATE.strftime(call[2])), template)
    if "strftime_now(" in fixed:
        raise InputError(f"{whose} writes the current time in a way that is not known: the texts would change with it")
    return fixed


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
