"""The API key: read from the environment, sent in a header, shown nowhere.

Servers and proxies echo what they are sent; whatever they say passes `scrub` before it is kept.
"""

import json
import os
from urllib.parse import quote

from tasks.llm.base import EndpointRefused

_SHORTEST = 8
"""Characters; shorter keys are placeholders such as EMPTY, and cutting them out garbles words."""
_STAND_IN = "[API key]"
_QUOTED = 300
"""Characters of a server's words that a reason keeps."""


class Secret:
    """A key that can be sent and cut out of text, but not shown."""

    __slots__ = ("_key", "_spellings")

    def __init__(self, key: str, source: str) -> None:
        """Take a key, which may be empty; `source` is where it came from.

        Raises EndpointRefused, naming the source, when no header can carry it.
        """
        self._key = key.strip()
        if not (self._key.isascii() and self._key.isprintable()):
            # Found out later, the HTTP library would quote the key in its complaint.
            msg = (
                f"the API key in the environment variable {source} holds characters that cannot"
                " be sent: set it to the key alone, on one line"
            )
            raise EndpointRefused(msg)
        self._spellings = _spellings(self._key) if len(self._key) >= _SHORTEST else ()

    def __repr__(self) -> str:
        """Show nothing."""
        return "Secret()"

    def __bool__(self) -> bool:
        """Say whether there is a key."""
        return bool(self._key)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key; none without one."""
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def scrub(self, text: str) -> str:
        """Return text without the key."""
        for spelling in self._spellings:
            text = text.replace(spelling, _STAND_IN)
        return text

    def quote(self, words: str) -> str:
        """Return a server's words without the key, on one line, shortened."""
        # The key goes first: a cut through it would leave a part that no longer looks like it.
        quoted = " ".join(self.scrub(words).split()) or "(no words)"
        return quoted if len(quoted) <= _QUOTED else quoted[: _QUOTED - 1] + "…"

    def scrub_body(self, body: bytes) -> bytes:
        """Return a body without the key."""
        for spelling in self._spellings:
            body = body.replace(spelling.encode(), _STAND_IN.encode())
        return body


def secret_from(variable: str) -> Secret:
    """Read a key from the environment; unset is empty. Raises EndpointRefused as `Secret` does."""
    return Secret(os.environ.get(variable, ""), variable)


def _spellings(key: str) -> tuple[str, ...]:
    """Return how a key is written in text, in JSON and in addresses, longest first.

    That order keeps a short spelling from cutting a longer one in two.
    """
    in_json = json.dumps(key)[1:-1]
    spellings = {key, in_json, in_json.replace("/", "\\/"), quote(key, safe="")}
    return tuple(sorted(spellings, key=len, reverse=True))
