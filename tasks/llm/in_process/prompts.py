"""The tokens of prompts as a server would make them, and the texts of tokens as vLLM gives them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, cast

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from storage.errors import WrongRequest
from tasks.llm.request import Message, Request

Chat = Literal["template", "plain"]
"""How the turns of a chat become a prompt: by the chat template, or as plain text with names before them."""

PLAIN_STOP = "\nUser:"
"""Where a reply to plain text ends: models write the next turn of the other as well."""
_SPEAKERS = {"system": "", "user": "User: ", "assistant": "Assistant: "}
_CUT = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 4
"""Tokens that one character is split over at most: as many as it has bytes."""


class Prompts:
    """Turns requests into tokens and tokens into text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, chat: Chat, model: str) -> None:
        """`model` is its name in messages."""
        self.tokenizer, self.chat, self.model = tokenizer, chat, model
        self.words = cast("Tokenizer", tokenizer.backend_tokenizer)
        self._text = lru_cache(maxsize=100_000)(self._decoded)

    def ids(self, request: Request) -> list[int]:
        """The tokens of a request's prompt or turns. Raises `WrongRequest` where it has none."""
        if request.prompt is not None:
            return self._encoded(request.prompt)
        if self.chat == "plain":
            return self._encoded(plain_text(request.messages))
        if not self.tokenizer.chat_template:
            msg = f"the reader's model {self.model} has no chat template: set chat: plain, or take an instruct model"
            raise WrongRequest(msg)
        turns = [{"role": turn.role, "content": turn.text} for turn in request.messages]
        try:
            text: Any = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template is a program of whoever made the model
            reason = " ".join(str(error).split()) or type(error).__name__
            msg = (
                f"the chat template of the reader's model {self.model} raises an error ({reason[:200]}): set chat: "
                "plain, or name a model whose template takes a system turn and several turns"
            )
            raise WrongRequest(msg) from error
        # What begins a sequence is in the template.
        return self._encoded(text, add_special_tokens=False)

    def stops(self, request: Request) -> tuple[str, ...]:
        """Texts that end the reply."""
        plain = request.messages and self.chat == "plain" and not request.held
        return (*request.stop, PLAIN_STOP) if plain else request.stop

    def lacking_digits(self, digits: str) -> list[str]:
        """Those of some digits that are no token of their own; other characters are passed over."""
        return [
            digit
            for digit in sorted(set(digits) & set("0123456789"))
            if all(
                self._text(token).strip() != digit
                for token in self.tokenizer.encode(digit, add_special_tokens=False)
            )
        ]

    def texts(self, ids: Sequence[int], before: Sequence[int]) -> list[str]:
        """The text of each of some tokens that could follow those `before`.

        A character whose bytes are split over tokens is the text of the last of them, and the others have none.
        """
        return [
            self._split(token, before[-_LONGEST:]) if text.endswith(_CUT) else text
            for token, text in ((token, self._text(token)) for token in ids)
        ]

    def _split(self, token: int, before: Sequence[int]) -> str:
        cut = 0
        while cut < len(before) and self._text(before[-1 - cut]).endswith(_CUT):
            cut += 1
        for count in range(1, cut + 1):
            text = self.tokenizer.decode([*before[len(before) - count :], token])
            if isinstance(text, str) and _CUT not in text:
                return text
        return ""

    def _decoded(self, token: int) -> str:
        text = str(self.tokenizer.decode([token]))
        # SentencePiece's mark of a space, which decoding drops at the beginning of a text.
        piece = str(self.tokenizer.convert_ids_to_tokens(token) or "")
        return f" {text}" if piece.startswith("▁") and not text.startswith(" ") else text

    def _encoded(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        try:
            return self.tokenizer(text, add_special_tokens=add_special_tokens).input_ids  # pyright: ignore[reportReturnType]
        except (TypeError, UnicodeError) as error:
            msg = (
                f"the tokenizer of the reader's model {self.model} does not take the prompt, which has characters that "
                "are no Unicode text, such as a lone surrogate: mend the corpus"
            )
            raise WrongRequest(msg) from error


def plain_text(messages: Sequence[Message]) -> str:
    """The turns of a chat as text for a model that knows no chats, up to where its own turn begins."""
    turns = [f"{_SPEAKERS[turn.role]}{turn.text}" for turn in messages]
    return "\n\n".join([*turns, "Assistant:"])
