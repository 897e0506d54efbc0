"""A site's name says which tensor it is, and round-trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import WrongRequest
from tasks.activations.sites import Site

PART = st.one_of(st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True), st.sampled_from(["input", "output"]))
MODULE = st.lists(PART, min_size=1, max_size=4).map(".".join)


SIDE_AND_FORM = st.sampled_from(
    [
        ("input", "raw"),
        ("input", "centred"),
        ("output", "raw"),
        ("output", "centred"),
        ("output", "normalised"),
    ]
)


@given(MODULE, SIDE_AND_FORM)
def test_every_site_parses_from_its_name(module: str, side_and_form: tuple[str, str]) -> None:
    """The name of any site parses to the same site."""
    site = Site(module, *side_and_form)  # pyright: ignore[reportArgumentType]

    assert site == Site.parse(str(site))


@given(MODULE, MODULE, SIDE_AND_FORM, SIDE_AND_FORM)
def test_names_tell_sites_apart(item: str, other: str, mine: tuple[str, str], yours: tuple[str, str]) -> None:
    """Two sites have one name only if they are the same."""
    first, second = Site(item, *mine), Site(other, *yours)  # pyright: ignore[reportArgumentType]

    assert (first == second) == (str(first) == str(second))


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("layers.2", Site("layers.2", "output")),
        ("layers.2.output", Site("layers.2", "output")),
        ("layers.5.mlp.input", Site("layers.5.mlp", "input")),
        ("embed_tokens", Site("embed_tokens", "output")),
        ("layers.5:centred", Site("layers.5", "output", "centred")),
        ("layers.5.output:centred", Site("layers.5", "output", "centred")),
        ("layers.5.input:centred", Site("layers.5", "input", "centred")),
        ("layers.5.norm:normalised", Site("layers.5.norm", "output", "normalised")),
        ("layers.5:raw", Site("layers.5")),
    ],
)
def test_names_parse(text: str, site: Site) -> None:
    """A name without a side means the output, one without a form the raw tensor."""
    assert site == Site.parse(text)


def test_output_is_not_spelt_out() -> None:
    """There is one name for an output: the module's."""
    assert "layers.2" == str(Site.parse("layers.2.output"))


@pytest.mark.parametrize("text", ["", ".", "layers.", "layers..2", "layers 2", ".input", "layers.2/mlp"])
def test_what_names_no_module_is_refused(text: str) -> None:
    """A name that no module can have is refused, with how to write one."""
    with pytest.raises(WrongRequest, match="names no site: write a module such as"):
        Site.parse(text)


@pytest.mark.parametrize(
    "text", ["layers.2:", "layers.2:centered", "layers.2:raw:raw", "layers.2.input:Centred"]
)
def test_what_is_no_form_is_refused(text: str) -> None:
    """A form that is misspelt is refused, with how the forms are spelt."""
    with pytest.raises(
        WrongRequest, match=r"no form of a site: write layers\.2:centred or layers\.2:normalised"
    ):
        Site.parse(text)


def test_the_input_of_a_norm_has_no_normalised_form_of_its_own() -> None:
    """What a norm makes of its input has one name."""
    with pytest.raises(WrongRequest, match=r"write layers\.2\.norm:normalised without \.input"):
        Site.parse("layers.2.norm.input:normalised")
