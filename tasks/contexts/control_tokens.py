"""Text that a tokenizer would take for a control token, such as `<|im_end|>`, and how it is broken up.

Servers tokenise a prompt with its control tokens parsed: one in a quoted text would end the user's turn. A space after
its opening brackets keeps it legible, and no tokenizer knows it any more: `<| im_end|>`, `[/ INST]`, `</ s>`.
"""

import re
from collections.abc import Collection
from functools import lru_cache

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


def _broken(found: re.Match[str]) -> str:
    token = found[0]
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
