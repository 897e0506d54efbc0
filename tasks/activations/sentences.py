"""Models that turn a text into a vector, as the library sentence-transformers has them: where one lies, and what it is.

Loads no torch before a text has to be turned: a fingerprint must not cost a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import WrongRequest
from tasks.coders import files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "package:"
"""Before the name of an installed Python package that holds a model's folder."""

MODULES = "modules.json"
"""What every model of sentence-transformers has."""

DECIDING = frozenset({".json", ".txt", ".model", ".safetensors"})
"""Files that decide the vectors: configs, vocabularies and weights, in folders below the model's as well."""

BATCH = 64
"""Texts that pass through a model at once."""

_lock = Lock()
"""Held by who loads a model or has texts passed through it."""


@dataclass(frozen=True)
class SentenceModel:
    """A model by its name, as a config names it."""

    model: str
    """Local folder, name on the Hub, or `package:NAME`."""
    revision: str | None = None
    """Of a name on the Hub."""

    def identity(self) -> str:
        """What decides its vectors: a hash of the model's files; on the Hub its name and commit.

        Raises `WrongRequest` when there is none where the name says.
        """
        folder = self._folder()
        if folder is None:
            return files.digest(self.model, [MODULES], self.revision)
        names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.suffix in DECIDING)
        system, root = files.filesystem(str(folder))
        total = sha256()
        for name in sorted(names):
            total.update(f"{name}\0{files.content(system, f'{root}/{name}')}\0".encode())
        return total.hexdigest()

    def check(self) -> None:
        """Load it. Raises `WrongRequest` when that fails, or when the library is not installed."""
        with _lock:
            _load(str(self._folder() or self.model), self.revision)

    def units(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float16: a vector per text, of length 1; of length 0 for a text of which the model says nothing.

        Vectors of the same texts in the same order are the same; a text's differs by rounding with those around it.
        """
        with _lock:
            model = _load(str(self._folder() or self.model), self.revision)
            found = model.encode(
                list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
            )
        rows = np.asarray(found, np.float32).reshape(len(texts), -1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float16)

    def _folder(self) -> Path | None:
        """The local folder with its files; null for a name on the Hub."""
        if self.model.startswith(PACKAGE):
            return _packaged(self.model.removeprefix(PACKAGE))
        folder = Path(self.model).expanduser()
        named = not self.model.startswith((".", "/", "~")) and self.model.count("/") <= 1
        if named and not folder.exists():
            return None
        if not (folder / MODULES).is_file():
            msg = (
                f"{self.model} holds no model of sentence-transformers: it has no {MODULES}; name a folder that has, "
                "or a model on the Hub"
            )
            raise WrongRequest(msg)
        return folder


def _packaged(name: str) -> Path:
    # Looked for and not imported: a config must not run the code of what it names.
    spec = find_spec(name) if name.isidentifier() else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(file.parent for place in places for file in Path(place).rglob(MODULES))
    if not found:
        why = "carries no model" if spec else "is not installed"
        msg = f"the package {name} {why}: install one that does, or name a folder or a model on the Hub"
        raise WrongRequest(msg)
    return found[0]


@lru_cache(maxsize=2)
def _load(model: str, revision: str | None) -> "SentenceTransformer":
    try:
        # An optional dependency, and seconds of imports.
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415
    except ImportError as error:
        msg = (
            f'similar_text needs the package sentence-transformers ({error}): pip install -e ".[embeddings]"'
        )
        raise WrongRequest(msg) from error
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            model, revision=revision, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        said = str(error).strip().split("\n")[0]
        msg = f"the embedding model {model} cannot be loaded ({said}): check its name and its files"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
