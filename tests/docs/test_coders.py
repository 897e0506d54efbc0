"""docs/coders.md: what it shows is done, and compared with what happens."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from flows.config_file import load_config
from flows.plan import Plan
from flows.preflight import check_cache
from storage.errors import WrongRequest
from tasks.coders import Source
from tasks.coders.base import HookSite
from tasks.coders.saelens import SAELens
from tasks.fields import kinds
from tests.docs.pages import DOCS, blocks
from tests.flows.command import TOY, write_config

PAGE = DOCS["coders"]
CODER = TOY / "coder" / "sparsify" / "layers.2" / "sae.safetensors"


def _marked(mark: str) -> str:
    """A block of the page that shows output."""
    block = re.search(rf"<!-- {mark} -->\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1]


def _weights() -> dict[str, torch.Tensor]:
    """The demo's coder, by the names of the page's example."""
    tensors = load_file(CODER)
    names = {"W_enc": tensors["encoder.weight"].T, "W_dec": tensors["W_dec"]}
    return names | {"b_enc": tensors["encoder.bias"], "b_dec": tensors["b_dec"]}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page's example writes of the demo's weights, where it writes it."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(PAGE, "python")
    exec(code, _weights())
    return tmp_path / "my-sae"


def _at(folder: Path, site: str | None) -> Plan:
    """A run with the page's coder at a site of its own."""
    (text,) = blocks(PAGE, "yaml")
    (coder,) = yaml.safe_load(text)["coders"]
    config = write_config(folder, str(folder / "lake"), coders=[{**coder, "site": site}])
    return Plan(load_config(config))


def test_the_example_fits_as_the_page_says(mine: Path) -> None:
    """The folder that it writes is loaded, and the gate says of it what the page shows; with or without the site."""
    shown = _marked("fit").splitlines()
    assert shown == check_cache(_at(mine.parent, "layers.2")) == check_cache(_at(mine.parent, None))


def test_other_sites_fit_as_the_page_says(mine: Path) -> None:
    """Worse, and yet they are taken; one of another width is not."""
    shown = _marked("sites").splitlines()
    sites = [re.split(r" at |: ", line)[1] for line in shown]
    assert shown == [line for site in sites for line in check_cache(_at(mine.parent, site))]
    assert len(sites) > 2
    with pytest.raises(WrongRequest, match=r"gives vectors of 512: name a site of that width"):
        check_cache(_at(mine.parent, "layers.2.mlp.down_proj.input"))


def _top(pre: torch.Tensor, k: int, ranked: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(pre).scatter(1, ranked.topk(k).indices, 1.0) * pre


RULES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "standard": lambda pre, _: pre.relu(),
    "topk": lambda pre, _: _top(pre, 24, pre).relu(),
    "abstopk": lambda pre, _: _top(pre, 24, pre.abs()),
    "jumprelu": lambda pre, threshold: torch.where(pre > threshold, pre, 0.0),
}


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize("architecture", RULES)
def test_rules_fire_as_the_page_says(mine: Path, architecture: str, *, subtracts: bool) -> None:
    """By the formulas of its table, for what the example writes with another architecture."""
    assert f'"architecture": "{architecture}"' in PAGE.read_text(encoding="utf-8")
    weights = _weights()
    threshold = torch.full([weights["b_enc"].numel()], 0.5)
    config = json.loads((mine / "cfg.json").read_text(encoding="utf-8"))
    config |= {"architecture": architecture, "apply_b_dec_to_input": subtracts}
    (mine / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    if architecture == "jumprelu":
        from safetensors.torch import save_file  # noqa: PLC0415

        stored = load_file(mine / "sae_weights.safetensors")
        save_file(stored | {"threshold": threshold}, mine / "sae_weights.safetensors")
    x = torch.randn(7, len(weights["b_dec"]), generator=torch.Generator().manual_seed(0))

    coder = SAELens(path=str(mine)).load("layers.2", HookSite("layers.2", x.shape[1]))
    fired = coder.encode(x)

    activations = torch.zeros(len(x), coder.width)
    activations[fired.token, fired.feature] = fired.activation
    pre = (x - subtracts * weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    expected = RULES[architecture](pre, threshold)
    torch.testing.assert_close(activations, expected, atol=1e-4, rtol=1e-4)
    decoded = expected @ weights["W_dec"] + weights["b_dec"]
    torch.testing.assert_close(coder.reconstruct(x, fired), decoded, atol=1e-3, rtol=1e-3)


def test_the_page_has_every_format() -> None:
    """A row for each kind of source, and none of others."""
    table = PAGE.read_text(encoding="utf-8").split("## Formats")[1]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert kinds(Source).keys() - {"auto"} == named
