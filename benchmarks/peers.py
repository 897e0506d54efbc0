"""The environment that other people's systems run in, made by `make bench-peers`.

Two of its packages want vLLM, faiss and sentence-transformers, which their measured paths never call. Modules with
the same names and nothing in them stand for those.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / ".venv-peers"

STUBS = {
    "faiss": ("IndexFlatL2",),
    "sentence_transformers": ("SentenceTransformer",),
    "vllm": ("LLM", "SamplingParams"),
    "vllm.inputs": ("TokensPrompt",),
    "vllm.distributed": (),
    "vllm.distributed.parallel_state": ("destroy_distributed_environment", "destroy_model_parallel"),
}
"""Modules, and what is imported from them by name."""


class Peers(NamedTuple):
    """An environment that is there."""

    python: str
    """Its interpreter."""
    path: str
    """Folder of the empty modules, for PYTHONPATH."""


def peers(folder: Path, scratch: Path) -> Peers | None:
    """The environment in a folder, its empty modules written to `scratch`; null when none was made."""
    python = folder / "bin" / "python"
    if not python.is_file():
        return None
    stubs = scratch / "stubs"
    write_stubs(stubs)
    return Peers(str(python.absolute()), str(stubs))


def write_stubs(folder: Path) -> None:
    """Write the empty modules, each a package, since some have modules inside."""
    for module, names in STUBS.items():
        place = folder.joinpath(*module.split("."))
        place.mkdir(parents=True, exist_ok=True)
        place.joinpath("__init__.py").write_text(
            "".join(f"class {name}: ...\n" for name in names), encoding="utf-8"
        )


def without_init(package: str) -> None:
    """In that environment: let a package's modules be imported without its `__init__`.

    That of delphi's scorers imports all of them and what those need.
    """
    parent, _, name = package.rpartition(".")
    made = ModuleType(package)
    made.__path__ = [str(Path(folder) / name) for folder in importlib.import_module(parent).__path__]
    sys.modules[package] = made
