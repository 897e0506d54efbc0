"""The files of a causal language model by the name that a config gives it: folder, Hub name, GGUF file or package.

Imports torch and transformers only to load the model or tokenizer, or to convert a GGUF.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import WrongRequest
from tasks.coders import files, tokenizer_files
from tasks.model_files import gguf, package

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LOG = logging.getLogger(__name__)

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
GENERATION_FILES = ("generation_config.json", "chat_template.jinja", "chat_template.json")
MORE_TEMPLATES = "additional_chat_templates"


@dataclass(frozen=True)
class CausalModelFiles:
    """A causal language model and its tokenizer, on disk or on the Hub."""

    model: str
    """Local folder in the Hugging Face layout, a GGUF file or a folder with one, `package:NAME`, or a Hub name."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    key: str = "subject.model"
    """The config's key, for messages."""

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer. Raises `WrongRequest` where there is none, or a slow one: only fast ones give offsets."""
        self._require(TOKENIZER_FILES, "a tokenizer")
        place = self.config_folder()
        from tasks.model_files import load  # noqa: PLC0415  (imports torch, which reading a config doesn't need)

        return load.load_tokenizer(place, self.revision, self._shown)

    def load(self, dtype: str, device: str) -> "PreTrainedModel":
        """The model, for inference, on a device (`auto` takes a GPU if there is one). Raises `WrongRequest`."""
        self._require((CONFIG,), "a model")
        self._refuse_pickles()
        place = self.folder()
        from tasks.model_files import load  # noqa: PLC0415

        return load.load_causal_model(place, self.revision, dtype, device, self._shown)

    def folder(self) -> str:
        """What transformers loads the model from: a folder or a Hub name. A GGUF is converted once."""
        file = self._gguf()
        if file is None:
            return self._place
        tokenizer = self.config_folder()

        def build(folder: Path) -> None:
            from tasks.model_files import convert  # noqa: PLC0415

            LOG.warning("converting %s to safetensors, once: it is kept in %s", file, gguf.cache_folder())
            shutil.copytree(tokenizer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(gguf.RECORD))
            convert.build_model(file, folder)

        return str(gguf.converted(file, "model", build))

    def config_folder(self) -> str:
        """As `folder`, for config and tokenizer alone: of a GGUF these take seconds, and its weights are not read."""
        file = self._gguf()
        if file is None:
            return self._place

        def build(folder: Path) -> None:
            from tasks.model_files import convert  # noqa: PLC0415

            unknown = convert.unknown_split(file)
            if unknown:
                LOG.warning(
                    "%s: transformers does not know how its tokenizer (%s) splits text into words, and splits as "
                    "GPT-2's does: compare with the tokenizer that was published",
                    file,
                    unknown,
                )
            convert.build_tokenizer(file, folder)

        return str(gguf.converted(file, "tokenizer", build))

    def digest(self) -> str:
        """A hash of the model's config and weights; of a GGUF, of the file; for a name on the Hub, its commit."""
        file = self._gguf()
        if file is not None:
            return gguf.digest(file)
        if not self._local():
            return self._commit(CONFIG)
        self._require((CONFIG,), "a model")
        self._refuse_pickles()
        weights = [
            name for name in self._there() if name.endswith((gguf.WEIGHTS, f"{gguf.WEIGHTS}.index.json"))
        ]
        return files.digest_files(self._place, [CONFIG, *weights])

    def tokenizer_digest(self) -> str:
        """A hash of the tokenizer's files; of a GGUF, of the file; for a name on the Hub, its commit."""
        file = self._gguf()
        if file is not None:
            return gguf.digest(file)
        if not self._local():
            return self._commit(CONFIG)
        self._require(TOKENIZER_FILES, "a tokenizer")
        return files.digest_files(self._place, [name for name in TOKENIZER_FILES if name in self._there()])

    def generation_digest(self) -> str:
        """A hash of its chat templates and of what ends a reply, which say nothing of the activations of a subject.

        Of a GGUF, of the file; for a name on the Hub, its commit.
        """
        file = self._gguf()
        if file is not None:
            return gguf.digest(file)
        if not self._local():
            return self._commit(CONFIG)
        there = [name for name in GENERATION_FILES if name in self._there()]
        own = files.digest_files(self._place, there)
        folder = f"{self._place}/{MORE_TEMPLATES}"
        more = files.list_names(folder)
        return f"{own}:{files.digest_files(folder, more)}" if more else own

    def control_tokens(self, *, fetch: bool = True) -> frozenset[str] | None:
        """Texts of the tokenizer's special tokens, with those of its chat template; None where no file names any.

        Loads neither the model nor the tokenizer; for a name on the Hub, its cached files are preferred, and nobody is
        asked without `fetch`.
        """
        return tokenizer_files.control_tokens(self.config_folder(), self.revision, fetch=fetch)

    @property
    def _shown(self) -> str:
        """The model in messages: by its name, and the key of what is not the subject."""
        return self.model if self.key == "subject.model" else f"{self.model} ({self.key})"

    @property
    def _place(self) -> str:
        """The folder, the GGUF file or the Hub name that the model's name stands for."""
        return str(self._packaged()) if package.is_package(self.model) else self.model

    def _packaged(self) -> Path:
        """The GGUF file or the folder of the only model in a package."""
        configs = package.files_in_package(self.model, CONFIG)
        folders = [file.parent for file in configs if any(file.parent.glob(f"*{gguf.WEIGHTS}"))]
        ggufs = [
            file
            for file in package.files_in_package(self.model, "*")
            if gguf.is_gguf(file.name) and file.parent not in folders
        ]
        return package.only_model(
            self.model, [*folders, *ggufs], "a folder, a GGUF file or a model on the Hub"
        )

    def _gguf(self) -> Path | None:
        """The GGUF file; null for other models."""
        if not self._local() or "://" in self.model:
            return None
        return gguf.gguf_in(Path(self._place).expanduser().absolute(), self.key)

    def _local(self) -> bool:
        local = (
            package.is_package(self.model)
            or Path(self.model).exists()
            or self.model.startswith((".", "/", "~"))
            or self.model.count("/") > 1
            or gguf.is_gguf(self.model)
        )
        if local and self.revision is not None:
            msg = f"{self.model} is a folder and has no revisions: leave revision {self.revision} out"
            raise WrongRequest(msg)
        return local

    def _there(self) -> list[str]:
        return files.list_names(self._place)

    def _commit(self, name: str) -> str:
        return f"{self.model}@{files.HubFolder(self.model, '', self.revision).commit(name)}"

    def _require(self, any_of: tuple[str, ...], what: str) -> None:
        if self._local() and self._gguf() is None and not set(any_of) & set(self._there()):
            if not Path(self._place).exists():
                msg = f"there is no folder {self.model}: correct {self.key}"
                raise WrongRequest(msg)
            holds = files.shortened(self._there()) or "nothing"
            msg = f"{self.model} is not {what}: looked for {any_of[0]} in it, and it holds {holds}"
            raise WrongRequest(msg)

    def _refuse_pickles(self) -> None:
        there = self._there() if self._local() and self._gguf() is None else []
        pickled = [name for name in there if name.endswith(files.PICKLED)]
        if pickled and not any(name.endswith(gguf.WEIGHTS) for name in there):
            msg = (
                f"{self.model} has its weights in {pickled[0]}, a pickle, which can run code when it is "
                "read: save the model again with save_pretrained(..., safe_serialization=True)"
            )
            raise WrongRequest(msg)
