"""Which of a request's settings a server takes, and under which names.

Hosted APIs differ: OpenAI's reasoning models take `max_completion_tokens` in the place of `max_tokens` and only the
default temperature, others take no seed. A server that refuses a setting names it, with status 400 or 422.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Literal, NamedTuple, cast

MaxTokensKey = Literal["max_tokens", "max_completion_tokens"]
"""What the longest reply is called."""
Omittable = Literal["seed", "temperature", "stop", "encoding_format"]
"""Settings without which a request can be sent."""

_OMITTABLE: tuple[Omittable, ...] = ("seed", "temperature", "stop", "encoding_format")
_MAX_TOKENS: tuple[MaxTokensKey, ...] = ("max_tokens", "max_completion_tokens")
_UNSUPPORTED = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|extra|deprecated|only be set|max_completion_tokens"
    r"|not (?:be )?(?:permitted|allowed|available|accepted|used|set)",
    re.IGNORECASE,
)
"""Words about a setting that is refused as such; others are about its value, which the config has to change."""


class Parameters(NamedTuple):
    """How settings are sent to the servers of a reader."""

    max_tokens_key: MaxTokensKey = "max_tokens"
    omit: frozenset[Omittable] = frozenset()

    def without(self, name: str) -> "Parameters":
        """The same for servers that refuse a setting: under its other name, or left out."""
        if name in _MAX_TOKENS:
            other = _MAX_TOKENS[1 - _MAX_TOKENS.index(name)]
            return self._replace(max_tokens_key=other)
        return self._replace(omit=self.omit | {cast("Omittable", name)})

    def spelled(self) -> str:
        """The same as one text, which `read` reads."""
        return " ".join([self.max_tokens_key, *sorted(self.omit)])

    @classmethod
    def read(cls, text: str) -> "Parameters":
        """What `spelled` wrote."""
        key, *omit = text.split()
        return cls(cast("MaxTokensKey", key), frozenset(cast("list[Omittable]", omit)))


def refused_parameter(body: bytes, sent: Collection[str]) -> str | None:
    """The setting that an error's body refuses, of those that were sent; None where it is about something else."""
    text = body.decode(errors="replace")
    if not _UNSUPPORTED.search(text):
        return None
    known = [name for name in (*_MAX_TOKENS, *_OMITTABLE) if name in sent]
    named = _named(body)
    if named:
        return next((name for name in known if name in named), None)
    return next((name for name in known if re.search(rf"(?<!\w){name}(?!\w)", text)), None)


def _named(body: bytes) -> set[str]:
    """The fields of a request that an error names apart from its words: OpenAI's `param`, FastAPI's `loc`."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    return set(_fields(content))


def _fields(content: Any) -> list[str]:
    if isinstance(content, list):
        return [name for item in content for name in _fields(item)]
    if not isinstance(content, dict):
        return []
    places = [content.get("param"), *(content["loc"] if isinstance(content.get("loc"), list) else ())]
    deeper = [name for key in ("error", "detail") for name in _fields(content.get(key))]
    return [place for place in places if isinstance(place, str) and place != "body"] + deeper


def explained(parameters: Parameters, before: Parameters) -> list[str]:
    """What has changed since, a line for each setting, as what a reader does."""
    lines = []
    if parameters.max_tokens_key != before.max_tokens_key:
        lines.append(f"takes {parameters.max_tokens_key} in the place of {before.max_tokens_key}")
    return lines + [_OMITTED[name] for name in _OMITTABLE if name in parameters.omit - before.omit]


_OMITTED: dict[Omittable, str] = {
    "seed": "takes no seed and is asked without one, so that its replies may differ from run to run",
    "temperature": "takes no temperature and is asked without one, so that it samples at its own",
    "stop": "takes no stop sequences and is asked without them; replies are cut at them when they have come",
    "encoding_format": "takes no encoding_format and is asked without one",
}
