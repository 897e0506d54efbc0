"""How OpenAI-compatible endpoints are described in a run's config. Knows nothing of HTTP."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from storage.errors import WrongRequest
from tasks.llm.base import CachedReplies, ReaderConfig
from tasks.llm.openai.parameters import MaxTokensKey, Omittable, Parameters
from tasks.llm.request import Prices
from tasks.model_files.causal_model import CausalModelFiles


def _complaints(url: str) -> Iterator[str]:
    """Yield what is wrong with an endpoint's address."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield "it must look like http://host:port/v1"
    if parts.port == 0:
        yield "its port must not be 0"
    if "@" in parts.netloc:
        # Addresses are recorded on every row of `requests`.
        yield "it must not hold a user or a password; give a key through key_env"
    if parts.query or parts.fragment or any(sign.isspace() for sign in url):
        yield "it must end with its path: no query, no fragment, no spaces"


def _address(url: str) -> str:
    """Return the address without a final slash, or raise ValueError saying what is wrong with it."""
    for complaint in _complaints(url):
        raise ValueError(complaint)
    return url.rstrip("/")


def _proxy_address(url: str) -> str:
    """Return a proxy's address without a final slash, or raise ValueError saying what is wrong with it."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # The config is stored with every run.
        msg = (
            "it must not hold a user or a password, since a run's config is stored in the lake; name a proxy that"
            " asks for none, such as one on this machine that passes requests on to yours"
        )
        raise ValueError(msg)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        msg = "it must look like http://host:port"
        raise ValueError(msg)
    if parts.path.strip("/") or parts.query or parts.fragment or any(sign.isspace() for sign in url):
        msg = "it must end with its port: no path, no query, no fragment, no spaces"
        raise ValueError(msg)
    return url.rstrip("/")


def _distinct(urls: list[str]) -> list[str]:
    """Refuse an address given twice: it would count as two endpoints when load is spread."""
    if len(set(urls)) < len(urls):
        msg = "each address must be given once"
        raise ValueError(msg)
    return urls


_Url = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"pattern": r"^https?://[^\s@?#]+$"})]
_Proxy = Annotated[
    str, AfterValidator(_proxy_address), Field(json_schema_extra={"pattern": r"^https?://[^\s@?#/]+/?$"})
]
_Seconds = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
_Pause = Annotated[NonNegativeFloat, Field(allow_inf_nan=False)]


class OpenAIConfig(ReaderConfig, frozen=True):
    """One model behind one or more OpenAI-compatible servers, such as vLLM's."""

    remote: ClassVar[bool] = True
    language_model: ClassVar[bool] = True

    kind: Literal["openai"] = "openai"
    """Which kind of reader this is."""
    urls: Annotated[list[_Url], Field(min_length=1), AfterValidator(_distinct)]
    """Base addresses of servers of the same model, each like http://host:port/v1."""
    model: Annotated[str, Field(min_length=1)]
    """Name of the model as the servers list it."""
    optional: bool = False
    """Whether a run goes on without it when it is not there, leaving out what only it can do."""
    in_flight: PositiveInt = 64
    """Requests under way at once, over all endpoints together."""
    key_env: Annotated[str, Field(min_length=1)] = "OPENAI_API_KEY"
    """Environment variable that holds the API key; unset or empty means that none is sent."""
    connect_timeout: _Seconds = 5
    """Seconds to wait for a connection."""
    read_timeout: _Seconds = 600
    """Seconds to wait for a complete answer."""
    attempts: PositiveInt = 12
    """Tries per request while others get replies; a timeout counts twice, a refused connection never."""
    patience: _Pause = 300
    """Seconds for which a request keeps trying while nobody gets a reply: no endpoint takes connections, or none that
    does is ready. If they still take none, or are not what the config says, the run stops; what is done is kept."""
    max_backoff: _Pause = 20
    """Longest pause between tries, in seconds, where the server does not ask for a longer one."""
    max_tokens_key: MaxTokensKey | None = None
    """What the servers call the longest reply; null sends `max_tokens`, and the other name to a server that refuses
    this one."""
    omit: list[Omittable] = []  # noqa: RUF012  (pydantic copies it)
    """Settings that are never sent; those that a server refuses by name are left out without being listed here."""
    replies: CachedReplies = "keep"
    """Replies are kept in the lake and the same request is never asked twice: `keep`; `keep_failures` keeps the reasons
    of requests that failed as well, which are then not tried again; `off` asks every time."""
    prompt_price: _Pause | None = None
    """Price of a million prompt tokens, in any currency; null when unknown."""
    completion_price: _Pause | None = None
    """Price of a million completion tokens, in the same currency; null when unknown."""
    cached_price: _Pause | None = None
    """Price of a million prompt tokens from the server's prefix cache; null where they cost as much as any. With one
    set nothing is sent as a list, since servers do not say how many tokens of a list were cached."""
    tokenizer: str | None = None
    """Folder, name on the Hub, GGUF file or `package:NAME` of the tokenizer that `gloss estimate` counts with; null
    takes the model's own. Its control tokens are broken up in prompts where its files are on this machine; those of
    common models always are."""
    block: PositiveInt | None = 16
    """Tokens per block of the server's prefix cache, for `gloss estimate`; null where the server caches nothing."""
    proxy: _Proxy | None = None
    """Address of an HTTP proxy, like http://host:port, through which the servers are reached; null for none. No
    environment variable sets one, and addresses of this machine are always reached without."""

    @property
    def control_tokens(self) -> frozenset[str]:
        """The control tokens of the model's tokenizer, where its files are at hand: in `tokenizer`, or in `model`.

        Nobody is asked for them: those of the common families are known without (`tasks/contexts/special_tokens.py`).
        """
        try:
            own = CausalModelFiles(self.tokenizer or self.model).control_tokens(fetch=False)
        except WrongRequest:  # the model may be a path on the server's machine
            own = None
        return own or frozenset()

    @property
    def is_optional(self) -> bool:
        """As the key `optional`."""
        return self.optional

    @property
    def cached_replies(self) -> CachedReplies:
        """As the key `replies`."""
        return self.replies

    @property
    def prices(self) -> Prices:
        """As the three keys."""
        return Prices(self.prompt_price, self.completion_price, self.cached_price)

    @property
    def missing_prices(self) -> tuple[str, ...]:
        """Those of `prompt_price` and `completion_price` that are null."""
        prices = {"prompt_price": self.prompt_price, "completion_price": self.completion_price}
        return tuple(key for key, price in prices.items() if price is None)

    @property
    def model_name(self) -> str:
        """As the key `model`."""
        return self.model

    @property
    def cache_block(self) -> int | None:
        """As the key `block`."""
        return self.block

    @property
    def parameters(self) -> Parameters:
        """How settings are sent until a server refuses one."""
        return Parameters(self.max_tokens_key or "max_tokens", frozenset(self.omit))

    def identity(self) -> dict[str, object]:
        """What decides its answers; where and how fast they are given does not."""
        return {"kind": self.kind, "model": self.model}
