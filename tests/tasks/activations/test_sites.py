"""A site's name says which tensor it is, and round-trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import WrongRequest
from tasks.activations.sites import Site

PART = st.one_of(st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True), st.sampled_from(["input", "output"]))
MODULE = st.lists(PART, min_size=1, max_size=4).map(".".join)


@given(MODULE, st.sampled_from(["input", "output"]))
def test_every_site_parses_from_its_name(module: str, side: str) -> None:
    """The name of any site parses to the same site."""
    site = Site(module, side)  # pyright: ignore[reportArgumentType]

    assert site == Site.parse(str(site))


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("layers.2", Site("layers.2", "output")),
        ("layers.2.output", Site("layers.2", "output")),
        ("layers.5.mlp.input", Site("layers.5.mlp", "input")),
        ("embed_tokens", Site("embed_tokens", "output")),
    ],
)
def test_names_parse(text: str, site: Site) -> None:
    """A name without a side means the output."""
    assert site == Site.parse(text)


def test_output_is_not_spelt_out() -> None:
    """There is one name for an output: the module's."""
    assert "layers.2" == str(Site.parse("layers.2.output"))


@pytest.mark.parametrize("text", ["", ".", "layers.", "layers..2", "layers 2", ".input", "layers.2/mlp"])
def test_what_names_no_module_is_refused(text: str) -> None:
    """A name that no module can have is refused, with how to write one."""
    with pytest.raises(WrongRequest, match="names no site: write a module such as"):
        Site.parse(text)
