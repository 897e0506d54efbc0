"""The embedded embedding reader: turns texts into vectors with a sentence-transformers model in this process.

`tasks/coders/sentence_files.py` finds its files, `tasks/llm/encoder.py` loads it. Loads no torch itself.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from tasks.coders import sentence_files

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tasks.llm.encoder import Encoder, Vectors
    from tasks.llm.request import Request


class SentenceTransformersReader(BaseModel):
    """An embedding model of the library sentence-transformers (`pip install 'gloss-sae[embeddings]'`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
        return {"kind": self.kind, "model": sentence_files.identity(self.model, self.revision)}

    def open(self) -> "AbstractAsyncContextManager[Vectors]":
        """The reader itself. Raises `WrongRequest` when the model or the library is not there."""
        from tasks.llm.encoder import opened  # noqa: PLC0415  (numpy and threads, which a config must not cost)

        return opened(self.encoder, self.shown, self.batch)

    async def check(self, _examples: object = ()) -> None:
        """Load the model. Raises `WrongRequest` when it or the library is not there."""
        await asyncio.to_thread(self.encoder)

    def refuses(self, request: "Request") -> str | None:
        """Why it would not answer a request like this one, as a clause; null where it would."""
        texts = all(part.texts for part in request.parts or (request,))
        return None if texts else "turns texts into vectors and answers no other question"

    def encoder(self) -> "Encoder":
        """The loaded model; the same for the same model as long as the process lives."""
        from tasks.llm.encoder import load  # noqa: PLC0415

        folder = sentence_files.folder(self.model)
        return load(str(folder or self.model), self.revision, None if self.device == "auto" else self.device)

    @property
    def shown(self) -> str:
        """The model's name in the tables: of a folder, its own name only."""
        local = self.model.startswith((".", "/", "~")) or Path(self.model).exists()
        return Path(self.model).name if local else self.model.removeprefix(sentence_files.PACKAGE)
