"""The embedded embedding reader: turns texts into vectors with a sentence-transformers model in this process.

Knows where a model's files lie and what decides its vectors; `tasks/llm/encoder.py` loads it. Loads no torch itself.
"""

import asyncio
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from storage.errors import WrongRequest
from tasks.coders import files

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tasks.llm.encoder import Encoder, Vectors

PACKAGE = "package:"
"""Before the name of an installed Python package that holds a model's folder."""
MODULES = "modules.json"
"""What every model of sentence-transformers has."""
DECIDING = frozenset({".json", ".txt", ".model", ".safetensors"})
"""Files that decide the vectors: configs, vocabularies and weights, in folders below the model's as well."""


class SentenceTransformersReader(BaseModel):
    """An embedding model of the library sentence-transformers (`pip install -e ".[embeddings]"`)."""

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
        """What decides its vectors: the model's files, by content."""
        return {"kind": self.kind, "model": self._digest()}

    def open(self) -> "AbstractAsyncContextManager[Vectors]":
        """The reader itself. Raises `WrongRequest` when the model or the library is not there."""
        from tasks.llm.encoder import opened  # noqa: PLC0415  (numpy and threads, which a config must not cost)

        return opened(self.encoder, self.shown, self.batch)

    async def check(self, _examples: object = ()) -> None:
        """Load the model. Raises `WrongRequest` when it or the library is not there."""
        await asyncio.to_thread(self.encoder)

    def encoder(self) -> "Encoder":
        """The loaded model; the same for the same model as long as the process lives."""
        from tasks.llm.encoder import load  # noqa: PLC0415

        folder = self.folder()
        return load(str(folder or self.model), self.revision, None if self.device == "auto" else self.device)

    @property
    def shown(self) -> str:
        """The model's name in the tables: of a folder, its own name only."""
        local = self.model.startswith((".", "/", "~")) or Path(self.model).exists()
        return Path(self.model).name if local else self.model.removeprefix(PACKAGE)

    def folder(self) -> Path | None:
        """The local folder with the model's files; null for a name on the Hub.

        Raises `WrongRequest` when there is none where the config says.
        """
        if self.model.startswith(PACKAGE):
            return self._packaged(self.model.removeprefix(PACKAGE))
        folder = Path(self.model).expanduser()
        named = not self.model.startswith((".", "/", "~")) and self.model.count("/") <= 1
        if named and not folder.exists():
            return None
        if not (folder / MODULES).is_file():
            msg = f"{self.model} holds no model of sentence-transformers: it has no {MODULES}"
            raise WrongRequest(msg)
        return folder

    @staticmethod
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

    def _digest(self) -> str:
        folder = self.folder()
        if folder is None:
            return files.digest(self.model, [MODULES], self.revision)
        names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.suffix in DECIDING)
        system, root = files.filesystem(str(folder))
        total = sha256()
        for name in sorted(names):
            total.update(f"{name}\0{files.content(system, f'{root}/{name}')}\0".encode())
        return total.hexdigest()
