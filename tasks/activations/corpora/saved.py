"""What `save_to_disk` of the library `datasets` writes: Arrow files, and a state that names them in their order.

Read without the library, so that it can lie behind any URL. A folder of several splits has one such folder for each.
"""

import json
from typing import Any

import fsspec

from storage.errors import WrongRequest
from tasks.activations.corpora.base import Wanted

SPLITS = "dataset_dict.json"
STATE = "state.json"
INFO = "dataset_info.json"


def find(
    system: fsspec.AbstractFileSystem, root: str, there: list[str], wanted: Wanted, path: str
) -> tuple[tuple[str, ...], Wanted] | None:
    """The dataset's files of the split, and what is then wanted of them; null when it is no such dataset."""
    root = root.rstrip("/")
    if f"{root}/{SPLITS}" in there:
        splits = _read(system, f"{root}/{SPLITS}", "splits")
        folders = {str(split): f"{root}/{split}" for split in splits}
        states = {split: _state(system, folder) for split, folder in folders.items()}
    elif {f"{root}/{STATE}", f"{root}/{INFO}"} <= {*there}:
        state = _state(system, root)
        folders, states = {str(state[0]): root}, {str(state[0]): state}
    else:
        return None
    if wanted.split is not None and wanted.split not in folders:
        msg = f"the corpus {path} has no split {wanted.split}: it has {', '.join(folders)}"
        raise WrongRequest(msg)
    chosen = [wanted.split] if wanted.split is not None else list(folders)
    names = tuple(f"{folders[split]}/{name}" for split in chosen for name in states[split][1])
    missing = [name for name in names if name not in there]
    if missing or not names:
        msg = f"the corpus {path} lacks {missing[0] if missing else 'all files'}: save it to disk again"
        raise WrongRequest(msg)
    # The files are the split's; there need not be a column that says so.
    return names, wanted._replace(split=None)


def _state(system: fsspec.AbstractFileSystem, folder: str) -> tuple[str | None, list[str]]:
    """The split of a folder, and the names of its files."""
    file = f"{folder}/{STATE}"
    listed = _read(system, file, "_data_files")
    try:
        return _json(system, file).get("_split"), [str(entry["filename"]) for entry in listed]
    except (TypeError, KeyError) as error:
        msg = f"{file} names no files: save the dataset to disk again"
        raise WrongRequest(msg) from error


def _read(system: fsspec.AbstractFileSystem, file: str, key: str) -> list[Any]:
    found = _json(system, file).get(key)
    if not isinstance(found, list):
        msg = f"{file} has no list {key}: save the dataset to disk again"
        raise WrongRequest(msg)
    return found


def _json(system: fsspec.AbstractFileSystem, file: str) -> dict[str, Any]:
    try:
        found = json.loads(system.cat_file(file))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{file} cannot be read ({error}): save the dataset to disk again"
        raise WrongRequest(msg) from error
    return found if isinstance(found, dict) else {}
