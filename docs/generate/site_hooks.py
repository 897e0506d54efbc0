"""Hooks of mkdocs.yml: the pages outside docs/, links to source files, the list of decisions, and Mermaid.

Markdown is written for the repository, where links go to files by relative paths. On the site README.md is the home,
other pages outside docs/ keep their paths, and every other file that a page links to becomes a page below `source/`
that shows it. Mermaid is vendored as the npm registry serves it, `@mermaid-js/tiny`, and is put into pages with a
diagram, so that the theme does not fetch it from a CDN.
"""

import base64
import hashlib
import posixpath
import re
import tarfile
from collections.abc import Callable, Container, Iterable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[2]

OUTSIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "deployments/README.md",
    "deployments/vllm/README.md",
    "deployments/demo/MODEL_CARD.md",
)
"""Pages of the site that lie outside docs/."""

MERMAID = Path(__file__).with_name("mermaid-js-tiny-11.17.2.tgz")
INTEGRITY = "PmFr1c5cSfNf5AngLLR98DrbvR4U5KeD7I+hQkGqG5w5Veu3QT4dG0qu9f99cpn/sKj2XxRBK0q7EL6hr9NY/A=="
"""SHA-512 of the package as `npm view @mermaid-js/tiny@11.17.2 dist.integrity` prints it."""

SCRIPT = "assets/javascripts/mermaid.tiny.js"

FENCED = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=(?:#[^)\s]*)?\))")
"""Target of a relative link, without its fragment."""

LANGUAGES = {".py": "python", ".sql": "sql", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the navigation. Raises `ValueError` when Mermaid's package is not the published one."""
    digest = base64.b64encode(hashlib.sha512(MERMAID.read_bytes()).digest()).decode()
    if digest != INTEGRITY:
        msg = f"{MERMAID.name} is not what npm serves under that version: its SHA-512 is {digest}"
        raise ValueError(msg)
    decisions = sorted(file.name for file in (ROOT / "docs" / "adr").glob("*.md"))
    assert config.nav is not None
    config.nav.append({"Decisions": [f"adr/{name}" for name in decisions]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, Mermaid, and a page for every other file that a page links to."""
    for path in OUTSIDE:
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, _uri(path), content=text))
    pages = {_path(file.src_uri): file for file in files.documentation_pages()}
    texts = {path: file.content_string for path, file in pages.items()}
    linked = {target for path, text in texts.items() for target in _targets(path, text)}
    for path in sorted(linked - pages.keys()):
        if (ROOT / path).exists():
            files.append(File.generated(config, _source(path), content=_shown(path, pages.keys() | linked)))
    with tarfile.open(MERMAID) as package:
        for name, uri in (("dist/mermaid.tiny.js", SCRIPT), ("LICENSE", f"{SCRIPT}.LICENSE.txt")):
            member = package.extractfile(f"package/{name}")
            assert member is not None
            files.append(File.generated(config, uri, content=member.read()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Point relative links at the pages of the site."""
    uri = page.file.src_uri

    def pointed(link: re.Match[str]) -> str:
        target = link[1] if uri.startswith("source/") else _resolved(_path(uri), link[1])
        for place in (_uri(target), _source(target)):
            if files.get_file_from_path(place) is not None:
                return posixpath.relpath(place, posixpath.dirname(uri) or ".")
        return link[1]

    return _prose(markdown, lambda text: LINK.sub(pointed, text))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Load Mermaid on pages with a diagram: the theme fetches it from a CDN only where it isn't there."""
    if 'class="mermaid"' not in output:
        return output
    script = f'<script src="{get_relative_url(SCRIPT, page.url)}"></script>'
    return output.replace("</head>", f"{script}</head>", 1)


def _uri(path: str) -> str:
    """Where the site has a page of the repository."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def _path(uri: str) -> str:
    """Path in the repository of a page of the site."""
    return next((path for path in OUTSIDE if _uri(path) == uri), f"docs/{uri}")


def _source(path: str) -> str:
    """Where the site shows a file that is no page."""
    return f"source/{path.rstrip('/')}.md"


def _resolved(page: str, link: str) -> str:
    """A link's target as a path in the repository; that of a folder with a README is the README."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    readme = posixpath.join(target, "README.md")
    return readme if (ROOT / readme).is_file() else target


def _targets(page: str, text: str) -> Iterable[str]:
    """Paths in the repository that a page links to."""
    links: list[str] = []
    _prose(text, lambda prose: links.extend(LINK.findall(prose)) or prose)
    return {_resolved(page, link) for link in links}


def _prose(text: str, change: Callable[[str], str]) -> str:
    """A page's text with everything but its code blocks changed."""
    pieces = FENCED.split(text)
    pieces[::2] = map(change, pieces[::2])
    return "".join(pieces)


def _shown(path: str, linkable: Container[str]) -> str:
    """A page that shows a file, or lists a folder's files, with links to those that the site has.

    Raises `UnicodeDecodeError` when the file is no text.
    """
    head = f"---\nsearch: {{exclude: true}}\n---\n\n# {path.rstrip('/')}\n\n"
    if (ROOT / path).is_dir():
        names = sorted(file.name for file in (ROOT / path).iterdir() if not file.name.startswith(("_", ".")))
        places = {name: posixpath.join(path, name) for name in names}
        listed = (
            f"[{name}]({place})" if place in linkable else f"`{name}`" for name, place in places.items()
        )
        return head + "".join(f"- {item}\n" for item in listed)
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = "`" * (1 + max(map(len, re.findall(r"`{3,}", text)), default=2))
    return f"{head}{fence}{LANGUAGES.get(Path(path).suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
