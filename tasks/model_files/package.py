"""Models inside installed Python packages, `package:NAME` in configs: found without importing or running their code."""

from importlib.util import find_spec
from pathlib import Path

from storage.errors import WrongRequest
from tasks.coders import files

PREFIX = "package:"
"""Before the name of an installed Python package that carries a model."""


def is_package(model: str) -> bool:
    """Whether a config's `model` names a package."""
    return model.startswith(PREFIX)


def files_in_package(model: str, pattern: str) -> list[Path]:
    """Paths of the files and folders inside the package that `model` names which match a pattern, in order.

    Hidden ones are left out. Raises `WrongRequest` for a package that is not installed.
    """
    return sorted(
        file
        for folder in _folders(model)
        for file in folder.rglob(pattern)
        if not any(files.is_hidden(part) for part in file.relative_to(folder).parts)
    )


def only_model(model: str, places: list[Path], what: str) -> Path:
    """The one of `places` that a package's model lies in. Raises `WrongRequest` where there is none, or several.

    `what` names what a user could name instead.
    """
    name = model.removeprefix(PREFIX)
    if not places:
        msg = f"the package {name} carries no model: install one that does, or name {what}"
        raise WrongRequest(msg)
    if len(places) > 1:
        shown = files.shortened([place.name for place in places])
        msg = f"the package {name} carries {len(places)} models ({shown}): name one of {places[0].parent} by its path"
        raise WrongRequest(msg)
    return places[0]


def _folders(model: str) -> list[Path]:
    """The folders of a package. Looked for and not imported: a config must not run the code of what it names."""
    name = model.removeprefix(PREFIX)
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except ValueError:  # a module that the running program is, such as __main__
        spec = None
    if spec is None:
        imported = name.replace("-", "_")
        hint = f" (it is named as it is imported: {PREFIX}{imported})" if imported != name else ""
        msg = (
            f"the package {name} is not installed{hint}: install one that carries a model, or name a folder or a "
            "model on the Hub"
        )
        raise WrongRequest(msg)
    return [Path(place) for place in spec.submodule_search_locations or ()]
