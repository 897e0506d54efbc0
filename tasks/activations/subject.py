"""The subject model's config and its files. Imports torch and transformers only to load the model or tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from storage.errors import WrongRequest
from tasks.coders import files, tokenizer_files
from tasks.fields import ConfigModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tasks.activations.model import LoadedSubject

CONFIG = "config.json"
GGUF = ".gguf"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


class Subject(ConfigModel, frozen=True):
    """The language model whose features are explained."""

    model: str = Field(min_length=1)
    """Local folder in the Hugging Face layout, or a name on the Hub; weights in safetensors only. GGUF has to be
    converted first ([docs/subjects.md](subjects.md))."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the model computes in; coders compute in float32 unless they say otherwise."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if there is one."""

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The model's tokenizer, which must be a fast one: only these give offsets."""
        self._require(TOKENIZER_FILES, "a tokenizer")
        from tasks.activations import model  # noqa: PLC0415  (imports torch, which reading a config doesn't need)

        return model.load_tokenizer(self.model, self.revision)

    def load(self) -> "LoadedSubject":
        """Load the model for inference."""
        self._require((CONFIG,), "a model")
        self._refuse_pickles()
        from tasks.activations import model  # noqa: PLC0415

        return model.load_model(self.model, self.revision, self.dtype, self.device, self.tokenizer())

    def digest(self) -> str:
        """A hash of the model's config and weights; for a name on the Hub, its commit."""
        if not self._local():
            return self._commit(CONFIG)
        self._require((CONFIG,), "a model")
        self._refuse_pickles()
        there = files.list_names(self.model)
        weights = [name for name in there if name.endswith((".safetensors", ".safetensors.index.json"))]
        return files.digest_files(self.model, [CONFIG, *weights])

    def tokenizer_digest(self) -> str:
        """A hash of the tokenizer's files; for a name on the Hub, its commit."""
        if not self._local():
            return self._commit(CONFIG)
        self._require(TOKENIZER_FILES, "a tokenizer")
        return files.digest_files(self.model, [name for name in TOKENIZER_FILES if name in self._there()])

    def special_tokens(self) -> frozenset[str] | None:
        """Texts of the tokenizer's special tokens, with those of its chat template; None where no file names any.

        Loads neither the model nor the tokenizer; for a name on the Hub, its cached files are preferred.
        """
        return tokenizer_files.control_tokens(self.model, self.revision, fetch=True)

    def _local(self) -> bool:
        local = (
            Path(self.model).exists() or self.model.startswith((".", "/", "~")) or self.model.count("/") > 1
        )
        if local and self.revision is not None:
            msg = f"{self.model} is a folder and has no revisions: leave revision {self.revision} out"
            raise WrongRequest(msg)
        return local

    def _there(self) -> list[str]:
        return files.list_names(self.model)

    def _commit(self, name: str) -> str:
        return f"{self.model}@{files.HubFolder(self.model, '', self.revision).commit(name)}"

    def _require(self, any_of: tuple[str, ...], what: str) -> None:
        if self._local() and not set(any_of) & set(self._there()):
            if not Path(self.model).exists():
                msg = f"there is no folder {self.model}: correct subject.model"
                raise WrongRequest(msg)
            self._refuse_gguf()
            holds = files.shortened(self._there()) or "nothing"
            msg = f"{self.model} is not {what}: looked for {any_of[0]} in it, and it holds {holds}"
            raise WrongRequest(msg)

    def _refuse_gguf(self) -> None:
        """Raise `WrongRequest` with how to convert the model where there is a GGUF file."""
        files_ = [name for name in (self.model, *self._there()) if name.lower().endswith(GGUF)]
        if files_:
            msg = (
                f"{self.model} holds the model as GGUF ({Path(files_[0]).name}), and gloss reads folders of "
                "safetensors in the Hugging Face layout: convert it once, as docs/subjects.md says"
            )
            raise WrongRequest(msg)

    def _refuse_pickles(self) -> None:
        there = self._there() if self._local() else []
        pickled = [name for name in there if name.endswith(files.PICKLED)]
        if pickled and not any(name.endswith(".safetensors") for name in there):
            msg = (
                f"{self.model} has its weights in {pickled[0]}, a pickle, which can run code when it is "
                "read: save the model again with save_pretrained(..., safe_serialization=True)"
            )
            raise WrongRequest(msg)
