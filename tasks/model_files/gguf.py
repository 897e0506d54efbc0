"""GGUF files: which one a path names, and the cache folder of their conversions to the Hugging Face layout.

A conversion is a folder that is named by the file's hash and renamed into place when it is whole, with the hashes of
its files in it. What is missing, cut or altered is made again. Loads no torch: that is `convert`'s.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from threading import RLock

from storage.errors import WrongRequest
from tasks.coders import files

VERSION = 1
"""Of the conversion; part of its folder's name and of fingerprints."""

ENDING = ".gguf"
MAGIC = b"GGUF"
RECORD = "conversion.json"
"""Written last into a conversion: the GGUF's hash, and the size and hash of each file."""
WEIGHTS = ".safetensors"
PARTIAL = ".partial-"
"""In the name of a folder that a conversion is being written into."""
ABANDONED_AFTER = 24 * 3600
"""Seconds after which a folder that nobody renamed was left by a process that was killed."""

_SPLIT = re.compile(r"-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$", re.IGNORECASE)

_converting = RLock()
_verified: dict[Path, object] = {}
"""Sizes and times of the files of conversions whose hashes were compared in this process."""


def is_gguf(name: str) -> bool:
    """Whether a file is called as a GGUF."""
    return name.lower().endswith(ENDING)


def gguf_in(place: Path, key: str) -> Path | None:
    """The GGUF file that a path leads to: itself, or the only one in a folder without a model in safetensors.

    Raises `WrongRequest` for a folder with several, for one part of a split file and for what is no GGUF.
    """
    if place.is_dir():
        names = files.list_names(str(place))
        if any(name.endswith(WEIGHTS) for name in names):
            return None
        ggufs = [place / name for name in names if is_gguf(name)]
        if not ggufs:
            return None
        if len(ggufs) > 1 and not _SPLIT.search(ggufs[0].name):
            shown = files.shortened([file.name for file in ggufs])
            msg = f"{place} holds {len(ggufs)} GGUF files ({shown}): name one, as {key}: {ggufs[0]}"
            raise WrongRequest(msg)
        place = ggufs[0]
    elif not is_gguf(place.name):
        return None
    _refuse_unreadable(place, key)
    return place


def _refuse_unreadable(file: Path, key: str) -> None:
    if not file.is_file():
        msg = f"there is no file {file}: correct {key}"
        raise WrongRequest(msg)
    split = _SPLIT.search(file.name)
    if split:
        msg = (
            f"{file} is one of {int(split['parts'])} parts of a GGUF, which transformers cannot read: join them with "
            "llama.cpp's `llama-gguf-split --merge`, and name the joined file"
        )
        raise WrongRequest(msg)
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(MAGIC))
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}): correct {key} or the file's permissions"
        raise WrongRequest(msg) from error
    if magic != MAGIC:
        msg = f"{file} is no GGUF, which begins with {MAGIC.decode()}: fetch it again, or correct {key}"
        raise WrongRequest(msg)


def digest(file: Path) -> str:
    """What fingerprints know a GGUF by, wherever it lies: its hash, and the version of the conversion."""
    return f"gguf-{VERSION}:{_sha256(file)}"


def _sha256(file: Path) -> str:
    state = file.stat()
    return _sha256_of_state(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_state(file: Path, size: int, changed: int) -> str:  # noqa: ARG001  (another state is another file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def cache_folder() -> Path:
    """The folder of all conversions: `gguf` in `GLOSS_CACHE`, else in `gloss` of `XDG_CACHE_HOME` or `~/.cache`."""
    named = os.environ.get("GLOSS_CACHE")
    if named:
        return Path(named).expanduser().absolute() / "gguf"
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user).expanduser() if user else Path.home() / ".cache").absolute() / "gloss" / "gguf"


def converted(file: Path, what: str, build: Callable[[Path], None]) -> Path:
    """The folder with a part of a GGUF's conversion, made by `build(folder)` where it is not there or not whole.

    `what` names the part. transformers' version is in the folder's name, since another one may convert in another way.
    Raises `WrongRequest` where the cache cannot be written; nothing is left of a conversion that failed.
    """
    source = _sha256(file)
    target = cache_folder() / f"{source[:16]}-{VERSION}-{version('transformers')}-{what}"
    with _converting:
        if _is_whole(target, source):
            return target
        try:
            _build(target, source, build)
        except OSError as error:
            reason = error.strerror or str(error)
            msg = (
                f"the conversion of {file} cannot be written to {target.parent} ({reason}): make room there, or name "
                "another folder in the environment variable GLOSS_CACHE"
            )
            raise WrongRequest(msg) from error
        return target


def _build(target: Path, source: str, build: Callable[[Path], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    folder = Path(mkdtemp(prefix=f"{target.name}{PARTIAL}", dir=target.parent))
    try:
        build(folder)
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)  # the cache may be shared
        (folder / RECORD).write_text(
            json.dumps({"source": source, "files": _hashes(folder)}, indent=1) + "\n"
        )
        _rename(folder, target, source)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rename(folder: Path, target: Path, source: str) -> None:
    """Put a conversion into place, unless another process put a whole one there first."""
    for _ in range(3):
        if _is_whole(target, source):
            return
        if target.exists():
            broken = Path(mkdtemp(prefix=f"{target.name}{PARTIAL}", dir=target.parent))
            try:
                target.rename(broken / "broken")
            except FileNotFoundError:  # another process did that
                pass
            finally:
                shutil.rmtree(broken, ignore_errors=True)
        try:
            folder.rename(target)
        except OSError:  # another process was faster
            continue
        return
    msg = f"{target} was replaced by another process again and again"
    raise OSError(msg)


def _remove_abandoned(cache: Path) -> None:
    for folder in cache.glob(f"*{PARTIAL}*"):
        try:
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it has just been renamed
            continue


def _hashes(folder: Path) -> dict[str, list[object]]:
    """Size and hash of each file of a conversion by its name."""
    return {
        file.name: [file.stat().st_size, _sha256(file)]
        for file in sorted(folder.iterdir())
        if file.name != RECORD
    }


def _is_whole(folder: Path, source: str) -> bool:
    """Whether a conversion is there and its files are those that were written, compared once per state."""
    try:
        record = json.loads((folder / RECORD).read_text())
        state = [(name, *_state(folder / name)) for name in sorted(record["files"])]
        if _verified.get(folder) == state:
            return True
        whole = bool(state) and record["source"] == source and record["files"] == _hashes(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if whole:
        _verified[folder] = state
    return whole


def _state(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns
