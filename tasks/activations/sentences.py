"""Models that turn a text into a vector of length 1, as the library sentence-transformers has them.

Loads no torch before a text has to be turned: a fingerprint must not cost a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import WrongRequest
from tasks.coders import files, sentence_files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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
        return sentence_files.identity(self.model, self.revision)

    def check(self) -> None:
        """Load it. Raises `WrongRequest` when that fails, or when the library is not installed."""
        with _lock:
            _load(str(sentence_files.folder(self.model) or self.model), self.revision)

    def units(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float16: a vector per text, of length 1; of length 0 for a text of which the model says nothing.

        Vectors of the same texts in the same order are the same; a text's differs by rounding with those around it.
        """
        with _lock:
            model = _load(str(sentence_files.folder(self.model) or self.model), self.revision)
            found = model.encode(
                list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
            )
        rows = np.asarray(found, np.float32).reshape(len(texts), -1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float16)


@lru_cache(maxsize=2)
def _load(model: str, revision: str | None) -> "SentenceTransformer":
    try:
        # An optional dependency, and seconds of imports.
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415
    except ImportError as error:
        msg = f"similar_text needs the package sentence-transformers ({error}): pip install 'gloss-sae[embeddings]'"
        raise WrongRequest(msg) from error
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            model,
            revision=revision,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
            local_files_only=not Path(model).exists() and not files.reachable(),
        )
    except Exception as error:  # the files are anybody's: transformers lets through whatever they break
        said = str(error).strip().split("\n")[0]
        msg = f"the embedding model {model} cannot be loaded ({said}): check its name and its files"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
