"""The docs site: built without a network, and read without one."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

OFFLINE = """
import socket
def refused(*_, **__): raise OSError("the build must not use the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from mkdocs.__main__ import cli
cli()
"""
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attributes by which a browser fetches something with the page."""


class Loads(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        url = dict(attrs).get(LOADED.get(tag, ""))
        if url is not None:
            self.urls.append(url)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-c", OFFLINE, "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == built.returncode, built.stdout + built.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """Scripts, styles, icons and pictures are files of the site."""
    for page in site.rglob("*.html"):
        missing = []
        for url in Loads(page).urls:
            place = site / url.lstrip("/") if url.startswith("/") else page.parent / url.split("?")[0]
            if not url.startswith("data:") and not place.resolve().is_file():
                missing.append(url)
        assert [] == missing, page


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    """No font and no picture."""
    for style in site.rglob("*.css"):
        urls = re.findall(r"(?:url\(|@import )[\"']?([^\"')\s]+)", style.read_text(encoding="utf-8"))
        assert [] == [url for url in urls if not url.startswith(("data:", "#"))], style


def test_the_theme_would_fetch_mermaid_alone(site: Path) -> None:
    """And a stand-in for browsers before 2020; a new version of the theme that fetches more is noticed here."""
    (bundle,) = site.glob("assets/javascripts/bundle.*.min.js")
    assert {"mermaid@11/dist/mermaid.min.js", "resize-observer-polyfill"} == set(
        re.findall(r"https://unpkg\.com/([\w@./-]+)", bundle.read_text(encoding="utf-8"))
    )


def test_pages_with_a_diagram_have_mermaid(site: Path) -> None:
    """So that the theme does not fetch it: the README's, and no page without a diagram."""
    loaded = {page.name for page in site.rglob("*.html") if any("mermaid" in url for url in Loads(page).urls)}
    drawn = {
        page.name for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text(encoding="utf-8")
    }

    assert loaded == drawn
    assert "index.html" in drawn


def test_links_to_source_files_lead_to_pages_that_show_them(site: Path) -> None:
    """README's and the docs' links to code, which on GitHub go to the files."""
    shown = {page.relative_to(site / "source").as_posix() for page in (site / "source").rglob("*.html")}
    links = re.findall(r'href="source/([^"#]+)"', (site / "index.html").read_text(encoding="utf-8"))

    assert "storage/tables.py.html" in shown
    assert links
    assert set(links) <= shown


def test_scripts_that_write_pages_are_no_pages(site: Path) -> None:
    """docs/generate is left out."""
    assert not (site / "generate").exists()
