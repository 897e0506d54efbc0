"""Commands to paste into a shell, with the path of gloss and the config, settings and lake of the current command."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT_LAKE = "./gloss-lake"


def program() -> str:
    """`gloss` where a shell finds it, else its path relative to the working directory."""
    called = Path(sys.argv[0])
    return "gloss" if shutil.which("gloss") or called.name != "gloss" else os.path.relpath(called)


def lake_option(lake: str) -> str:
    """` --lake L`, or nothing for the default lake."""
    return "" if lake == DEFAULT_LAKE else f" --lake {shlex.quote(lake)}"


def config_command(options: argparse.Namespace, *words: str) -> str:
    """Another command on the config, `--set` and `--lake` of `options`; `words` name it, such as `batch read`."""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in options.set)
    lake = f" --lake {shlex.quote(options.lake)}" if options.lake else ""
    return f"{program()} {' '.join(words)} {shlex.quote(options.config)}{settings}{lake}"
