"""Special tokens of the subject's tokenizer in contexts: one neutral sign stands for them, and the question says so.

By their own names (`<|im_end|>`, `<eos>`) they would be words of the text to a reader, and control tokens to a server.
They are not left out where a reader sees tokens, since a feature may fire on them; raw text has a line break instead.

Text that a tokenizer would take for a control token, such as `<|im_end|>`, and how it is broken up.

Servers tokenise a prompt with its control tokens parsed: one in a quoted text would end the user's turn. A space after
its opening brackets keeps it legible, and no tokenizer knows it any more: `<| im_end|>`, `[/ INST]`, `</ s>`.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

_SPACE = " "

_ANGLED = (
    # Of a text and its parts: Llama 2, Mistral, Gemma, BERT's kin, GLM, InternLM, Cohere, Baichuan, T5.
    "s|bos|eos|pad|unk|mask|cls|sep|eot|eod|eop|sop|eom|eoh|eoa|BOS|EOS|PAD|UNK|MASK|CLS|SEP|[A-Z]+(?:_[A-Z]+)*_TOKEN",
    "(?:start|end)_of_[a-z_]+|unused_?[0-9]+|extra_id_[0-9]+|reserved(?:_special_token)?_[0-9]+",
    # Of thoughts and tools: Qwen, DeepSeek, GLM, Hermes, SmolLM3.
    "think|thinking|tool|tools|(?:tool|function)_(?:calls?|responses?|results?|declaration)",
    # Of what is no text: Llava, InternVL, Gemma 3.
    "image|img|IMG_CONTEXT|video|audio|(?:image|audio|video|vision)_[a-z_]+",
    # Of code: StarCoder, SantaCoder, Granite.
    "fim[_-](?:prefix|middle|suffix|pad)|filename|reponame|repo_name|file_sep|gh_stars|empty_output",
    "(?:issue|jupyter|commit)_[a-z_]+|pr(?:_[a-z_]+)?",
)
"""What stands between `<` or `</` and `>`."""

_SQUARED = (
    "INST|CLS|SEP|MASK|PAD|UNK|BOS|EOS|gMASK|sMASK|unused[0-9]+|control_[0-9]+|SYSTEM_PROMPT|MODEL_SETTINGS",
    "TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID|THINK|PREFIX|MIDDLE|SUFFIX",
    "IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO",
)
"""What stands between `[` or `[/` and `]`: BERT, Llama 2, Mistral, GLM."""

_POINTED = (
    "TITLE|ABSTRACT|INTRODUCTION|SUMMARY|COMMENT|ANSWER|QUESTION|DOMAIN|PREFIX|MIDDLE|SUFFIX|[A-Z]+_ADDRESS"
)
"""What stands between `>>` and `<<`: Falcon."""

FORM = (
    # ChatML, Llama 3 and 4, Phi, GPT-2 and later of OpenAI, Gemma 4; DeepSeek's with its full-width bars.
    r"<\|[^\s<>|]{1,80}\|?>|<[a-z_]{1,80}\|>|<\uff5c[^\s<>\uff5c]{1,80}\uff5c>"
    rf"|</?(?:{'|'.join(_ANGLED)})>|\[/?(?:{'|'.join(_SQUARED)})\]|>>(?:{_POINTED})<<"
)
"""Regular expression of a control token of one of the common families, without groups."""
_KNOWN = re.compile(FORM)


def is_known(text: str) -> bool:
    """Whether a text as a whole has the form of a control token of one of the common families."""
    return _KNOWN.fullmatch(text.strip()) is not None


def broken_up(text: str, own: Collection[str] = frozenset()) -> str:
    """The text with a space inside all that has the form of a control token, or is one of a tokenizer's `own`.

    Text without any is returned as it is, and so is text that has been broken up.
    """
    text = _KNOWN.sub(_broken, text)
    return _any_of(frozenset(own)).sub(_broken, text) if own else text


def _broken(match: re.Match[str]) -> str:
    token = match[0]
    # Before the first letter, so that the signs around marked tokens (`<<think>>`) stay what they are.
    place = next((place for place, sign in enumerate(token) if sign.isalnum()), 0) or 1
    return f"{token[:place]}{_SPACE}{token[place:]}"


@lru_cache(maxsize=16)
def _any_of(tokens: frozenset[str]) -> re.Pattern[str]:
    """Finds any of some tokens, of several at one place the longest; those of one sign have no inside.

    Those that are broken up by their form need not be looked for: a vocabulary may have thousands.
    """
    others = (token for token in tokens if len(token) > 1 and _KNOWN.sub(_broken, token) == token)
    longest = sorted(others, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest)) or r"(?!)")


SIGN = "␞"
"""U+241E, which no corpus has as text and no tokenizer as a control token."""

NOTE = f"{SIGN} stands for a special token, which is no text: an end of a document or a chat turn, or a separator."


class SpecialTokens(NamedTuple):
    """Which strings of tokens are special."""

    names: frozenset[str] | None
    """Null where the tokenizer's files don't say: then by their form (`tasks/contexts/special_tokens.py`)."""

    def shown(self, string: str) -> str:
        """A token's text, or the sign. Some tokenizers join a space to a special token."""
        special = is_known(string) if self.names is None else string.strip() in self.names
        return SIGN if special else string


NONE = SpecialTokens(frozenset())
"""Of a tokenizer without any."""


def raw(strings: Sequence[str]) -> str:
    """The text of tokens as nothing but text: a line break where special tokens part it; the sign if that is all."""
    if SIGN not in strings:
        return "".join(strings)
    stretches = [""]
    for string in strings:
        if string == SIGN:
            stretches.append("")
        else:
            stretches[-1] += string
    return "\n".join(filter(None, stretches)) or SIGN
