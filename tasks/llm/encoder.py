"""An embedding model at work: each text is turned into a vector once per process, in batches of whoever asks.

Vectors are float32, as the model gives them; those of the same text differ by rounding with the batch they were in.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import WrongRequest
from tasks.llm.request import Outcome, Reply, Request

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
            found = [self._vectors[text] for text in texts]
            for text in dict.fromkeys(texts):
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._kept:
                self._vectors.popitem(last=False)
            return found


@cache
def load(model: str, revision: str | None, device: str | None) -> Encoder:
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
        said = str(error).strip().split("\n")[0]
        msg = (
            f"the embedding model {model} cannot be loaded ({said}): check its name, its files and the device"
        )
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return Encoder(loaded)


class Vectors:
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
                found = await self._found(request.texts)
                reply, reason = Reply("", vectors=tuple(tuple(one.tolist()) for one in found)), None
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

    async def _found(self, texts: Sequence[str]) -> list[np.ndarray]:
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
