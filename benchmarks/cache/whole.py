"""The command `gloss cache` on the real case, as somebody types it: packing, firings and the features' directions."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks import child
from benchmarks.cache.workload import coder_folder, model_folder
from benchmarks.meter import Meter
from flows.cli import main
from storage.errors import RunFailed


def config(request: Mapping[str, Any]) -> dict[str, object]:
    """The run that caches the request's tokens; nothing of it asks a reader."""
    (site,) = request["sites"]
    length = request["shape"]["sequence"]
    return {
        "run": "whole",
        "lake": str(Path(request["folder"]) / "whole"),
        "subject": {"model": str(model_folder(request)), "device": request["device"]},
        "corpus": {
            "path": request["corpus"],
            "tokens": request["sequences"] * length,
            "sequence": length,
        },
        "coders": [
            {"site": site, "source": {"kind": "sparsify", "path": str(coder_folder(request, site).parent)}}
        ],
        "explainers": [{"kind": "exemplars", "reader": "baseline"}],
        "scorers": [{"kind": "detection", "reader": "baseline"}],
        "readers": {"baseline": {"kind": "baseline"}},
        "runner": {"kind": "threads", "batch": request["shape"]["batch"], "shard": request["shard"]},
    }


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Run it; raises `RunFailed` where it doesn't end well. Prefect's server is a process of its own."""
    file = Path(request["folder"]) / "whole.yaml"
    file.write_text(yaml.safe_dump(config(request)), encoding="utf-8")
    with Meter() as meter, contextlib.redirect_stdout(sys.stderr):
        code = main(["cache", str(file)])
    if code:
        msg = f"gloss cache ended with {code} on the real case; run python -m flows.cli cache with the same files"
        raise RunFailed(msg)
    return meter.used()


if __name__ == "__main__":
    child.serve(answer)
