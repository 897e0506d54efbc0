"""Commands as they can be typed: gloss where it really is, on the config, keys and lake that this one was given."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT_LAKE = "./gloss-lake"


def gloss() -> str:
    """What gloss is called from here."""
    called = Path(sys.argv[0])
    return "gloss" if shutil.which("gloss") or called.name != "gloss" else os.path.relpath(called)


def about(lake: str) -> str:
    """` --lake L` for a question, nothing for the lake that questions are about by themselves."""
    return "" if lake == DEFAULT_LAKE else f" --lake {shlex.quote(lake)}"


def again(options: argparse.Namespace, *words: str) -> str:
    """A command on the same config: `words` are its name and what stands before the config, such as `batch read`.

    With the keys that were changed and the lake that was named.
    """
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in options.set)
    lake = f" --lake {shlex.quote(options.lake)}" if options.lake else ""
    return f"{gloss()} {' '.join(words)} {shlex.quote(options.config)}{settings}{lake}"
