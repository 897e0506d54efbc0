"""A web proxy that the environment names does not stand before the command's own server."""

import pytest

from flows.interrupts import spare_loopback

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_where_a_proxy_is_named_loopback_is_spared(name: str) -> None:
    """In both spellings, since programs differ in which they read."""
    environment = {name: PROXY}

    spare_loopback(environment)

    assert {name: PROXY, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"} == environment


@pytest.mark.parametrize(
    ("given", "upper", "lower"),
    [
        ({"NO_PROXY": "corp.example, localhost"}, *["corp.example,localhost,127.0.0.1"] * 2),
        ({"no_proxy": "corp.example"}, *["corp.example,127.0.0.1,localhost"] * 2),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "b,127.0.0.1,localhost", "a,127.0.0.1,localhost"),
    ],
)
def test_what_was_spared_stays_so(given: dict[str, str], upper: str, lower: str) -> None:
    """The user's own exceptions come first, and hold in both spellings."""
    environment = {"HTTPS_PROXY": PROXY, **given}

    spare_loopback(environment)

    assert (upper, lower) == (environment["NO_PROXY"], environment["no_proxy"])


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HTTP_PROXY": ""},
        {"NO_PROXY": "corp.example"},
        {"HTTP_PROXY": PROXY, "PREFECT_API_URL": "http://127.0.0.1:4200/api"},
    ],
)
def test_otherwise_the_environment_is_left_alone(environment: dict[str, str]) -> None:
    """Where no proxy is named, and where a server of the user's own is."""
    before = dict(environment)

    spare_loopback(environment)

    assert before == environment
