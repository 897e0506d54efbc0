"""The shipped coders of SmolLM2-135M: gloss reads them, they are small, and their card says what was measured."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import deployments.demo
from deployments.demo.model_card import card
from deployments.demo.vectors import SITES, CoderSite
from tasks.coders.auto import Auto
from tasks.coders.base import HookSite

HERE = Path(deployments.demo.__path__[0])
METRICS = json.loads((HERE / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.module)
def test_gloss_reads_a_shipped_coder(site: CoderSite) -> None:
    """From the folder of all of them, by its site, and with the numbers that the card states."""
    plan = METRICS["plan"]["coder"]
    reads = str(site.reads)

    coder = Auto(path=str(HERE / "coder")).load(reads, HookSite(reads, 576))

    assert (plan["features"], 576, 576) == (coder.width, coder.d_in, coder.d_out)
    assert plan["k"] == coder.declared_l0
    assert coder.target == (site.module if site.transcode else "")


def test_the_shipped_coders_are_small() -> None:
    """Under 30 MB in half precision, biases apart."""
    files = sorted((HERE / "coder").rglob("*.safetensors"))

    assert {f"{site.module}/sae.safetensors" for site in SITES} == {
        file.relative_to(HERE / "coder").as_posix() for file in files
    }
    assert sum(file.stat().st_size for file in (HERE / "coder").rglob("*") if file.is_file()) < 30e6
    for file in files:
        with safe_open(file, framework="pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        assert {"encoder.weight": "F16", "encoder.bias": "F32", "W_dec": "F16", "b_dec": "F32"} == kinds


def test_the_card_holds_the_measured_numbers() -> None:
    """Nobody typed one."""
    assert card(METRICS) == (HERE / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_coders_fit_and_were_trained_in_earnest() -> None:
    """The card's numbers, held against what a reader may expect of them."""
    assert METRICS["training"]["tokens"] >= 3_000_000
    for numbers in METRICS["coders"].values():
        assert numbers["heldout_fvu"] < 0.3
        assert numbers["heldout_dead_share"] < 0.1
        assert numbers["loss_recovered"] > 0.8
