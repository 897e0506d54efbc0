"""How a causal language model in this process is described in a run's config. Loads no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from tasks.llm.base import CachedReplies, ReaderConfig
from tasks.llm.in_process.block_cache import BLOCK
from tasks.model_files.causal_model import CausalModelFiles
from tasks.model_files.package import PREFIX

if TYPE_CHECKING:
    from tasks.llm.request import Request


class TransformersConfig(ReaderConfig, frozen=True):
    """A causal language model in this process."""

    language_model: ClassVar[bool] = True

    kind: Literal["transformers"]
    model: Annotated[str, Field(min_length=1)]
    """Local folder in the Hugging Face layout, a GGUF file, `package:NAME` for an installed package that carries a
    model, or a name on the Hub ([docs/subjects.md](subjects.md))."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the model computes in."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if there is one."""
    chat: Literal["template", "plain"] = "template"
    """How the turns of a chat become a prompt: by the model's chat template, or as plain text with `User:` and
    `Assistant:`, for a base model."""
    optional: bool = False
    """Whether a run goes on without it when it is not there, leaving out what only it can do."""
    in_flight: PositiveInt = 64
    """Requests that are answered together; what several of them begin with is computed once."""
    batch_tokens: PositiveInt | None = None
    """Tokens that pass through the model at once; null takes 2,048 on a CPU and 16,384 on a GPU. Changes answers by
    rounding only."""
    cache_gb: Annotated[PositiveFloat, Field(allow_inf_nan=False)] | None = None
    """Gigabytes for keys and values of the beginnings of prompts, and as many again while replies are written; null
    takes a third of what is free beside the model, on a CPU at most 2."""
    replies: CachedReplies = "keep"
    """Replies are kept in the lake and the same request is never answered twice: `keep`; `keep_failures` keeps the
    reasons of requests that failed as well, which are then not tried again; `off` answers every time."""

    def identity(self) -> dict[str, object]:
        """What decides its answers: the model's files by content, what it computes in, and how chats are written.

        Its files are also those with its chat template and with the tokens that end a reply.

        Raises `WrongRequest` when there is no model where the config says.
        """
        model = {
            "model": self.files.digest(),
            "tokenizer": self.files.tokenizer_digest(),
            "generation": self.files.generation_digest(),
        }
        return {"kind": self.kind, **model, "dtype": self.dtype, "chat": self.chat}

    def refuses(self, request: "Request") -> str | None:
        """Why it would not answer a request like this one, as a clause; null where it would."""
        vectors = any(part.texts for part in request.parts or (request,))
        return "writes text and makes no vectors of texts" if vectors else None

    @property
    def files(self) -> CausalModelFiles:
        """The model's files."""
        return CausalModelFiles(self.model, self.revision, "a reader's model")

    @property
    def control_tokens(self) -> frozenset[str]:
        """The control tokens of the model's tokenizer."""
        return self.files.control_tokens() or frozenset()

    @property
    def is_optional(self) -> bool:
        """As the key `optional`."""
        return self.optional

    @property
    def cached_replies(self) -> CachedReplies:
        """As the key `replies`."""
        return self.replies

    @property
    def model_name(self) -> str:
        """The model's name in the tables: of a folder or a file, its own name only."""
        local = self.model.startswith((".", "/", "~")) or Path(self.model).exists()
        return Path(self.model).name if local else self.model.removeprefix(PREFIX)

    @property
    def cache_block(self) -> int:
        """Tokens per block of its prefix cache."""
        return BLOCK
