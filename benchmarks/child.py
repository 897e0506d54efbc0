"""One measurement, one process: systems share neither memory nor warm caches.

A child reads its request from standard input and answers with the last line of its output, both JSON. Standard
library only, since children also run in the peers' environments.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storage.errors import RunFailed

ROOT = Path(__file__).parents[1]

KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT")
"""Variables that a child inherits; any other could change what is measured."""


def run(
    module: str, request: Mapping[str, object], *, threads: int, python: str = sys.executable, path: str = ""
) -> dict[str, Any]:
    """What `module` answers to `request` in a process of its own; `path` is looked through for modules first.

    Raises `RunFailed` with the last words of a child that ends badly.
    """
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)])),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Threads that spin while they wait would be counted as if they worked.
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
    }
    done = subprocess.run(  # noqa: S603  (our own modules)
        [python, "-m", module],
        input=json.dumps(request),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"{module} {_end(done.returncode)}: {_last(done.stderr) or 'it said nothing'}"
        raise RunFailed(msg)
    try:
        return json.loads(_last(done.stdout))
    except ValueError as error:
        msg = f"{module} gave no answer: {_last(done.stdout) or 'it said nothing'}"
        raise RunFailed(msg) from error


def serve(answer: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """Answer the one request of this process."""
    reply = answer(json.loads(sys.stdin.read()))
    print(json.dumps(reply), flush=True)


def _end(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, as happens when memory runs out"
    return f"ended with {code}" if code > 0 else f"was ended by signal {-code}"


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
