"""The files of a model that turns texts into vectors, as the library sentence-transformers has them: where, and what.

Both who looks for similar text and who answers as a reader name such a model. Loads no torch: a fingerprint must not
cost a model.
"""

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from storage.errors import WrongRequest
from tasks.coders import files

PACKAGE = "package:"
"""Before the name of an installed Python package that holds a model's folder."""

MODULES = "modules.json"
"""What every model of sentence-transformers has."""

DECIDING = frozenset({".json", ".txt", ".model", ".safetensors"})
"""Files that decide the vectors: configs, vocabularies and weights, in folders below the model's as well."""


def identity(model: str, revision: str | None) -> str:
    """What decides its vectors: a hash of the files by content, wherever they lie; on the Hub its name and commit.

    Raises `WrongRequest` when there is none where the name says.
    """
    found = folder(model)
    if found is None:
        return files.digest(model, [MODULES], revision)
    there = (file.relative_to(found) for file in found.rglob("*") if file.suffix in DECIDING)
    names = (file.as_posix() for file in there if not any(map(files.hidden, file.parts)))
    system, root = files.filesystem(str(found))
    total = sha256()
    for name in sorted(names):
        total.update(f"{name}\0{files.content(system, f'{root}/{name}')}\0".encode())
    return total.hexdigest()


def folder(model: str) -> Path | None:
    """The local folder with the files of a model that a config names; null for a name on the Hub.

    Raises `WrongRequest` when there is none where the name says.
    """
    if model.startswith(PACKAGE):
        return _packaged(model.removeprefix(PACKAGE))
    found = Path(model).expanduser()
    named = not model.startswith((".", "/", "~")) and model.count("/") <= 1
    if named and not found.exists():
        return None
    if not (found / MODULES).is_file():
        msg = (
            f"{model} holds no model of sentence-transformers: it has no {MODULES}; name a folder that has, "
            "or a model on the Hub"
        )
        raise WrongRequest(msg)
    return found


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
