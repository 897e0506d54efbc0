"""The scripts of docs/generate, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "docs" / "generate"


def generator(name: str) -> ModuleType:
    """The script that writes a page, loaded from its file."""
    spec = importlib.util.spec_from_file_location(f"docs_generate_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
