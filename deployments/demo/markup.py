"""Plain text of HTML pages and of manual pages in troff."""

import re
from html.parser import HTMLParser

BLOCKS = frozenset("p div li dt dd h1 h2 h3 h4 h5 h6 tr table ul ol dl pre blockquote br section".split())
HIDDEN = frozenset("head script style nav".split())

_MANUAL_REQUEST = re.compile(r"^[.'][ \t]*(?P<name>[A-Za-z]*)[ \t]*(?P<rest>.*)$")
_MANUAL_FONTS = frozenset("B I R BR RB BI IB IR RI SB SM SH SS TP IP UR UE MR".split())
"""Requests whose arguments are text; the others set the page."""
_PARAGRAPHS = frozenset("PP P LP SH SS TP IP HP".split())


class _PageText(HTMLParser):
    """The visible text of a page, with an empty line between blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.hidden = 0
        self.verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  (the base's)
        self.hidden += tag in HIDDEN
        self.verbatim += tag == "pre"
        if tag in BLOCKS:
            self.pieces.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in HIDDEN
        self.verbatim -= tag == "pre"
        if tag in BLOCKS:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append(data if self.verbatim else re.sub(r"\s+", " ", data))


def plain_html(page: str) -> str:
    """The visible text of an HTML page, with an empty line between blocks; every line begins at the margin."""
    reader = _PageText()
    reader.feed(page)
    text = re.sub(r"[ \xa0]+\n", "\n", "".join(reader.pieces))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n +(?=\S)", "\n", text)).strip()


def plain_manual(page: str) -> str:
    """A manual page's text, with an empty line between paragraphs."""
    lines = []
    for line in page.splitlines():
        request = _MANUAL_REQUEST.match(line)
        if not request:
            lines.append(line)
            continue
        if request["name"] in _PARAGRAPHS:
            lines.append("")
        if request["name"] in _MANUAL_FONTS and request["rest"]:
            lines.append(_joined(request["name"], request["rest"]))
    text = "\n".join(lines)
    text = re.sub(r"\\f[A-Z]|\\f\(..|\\f\[\w*\]|\\&|\\c|\\/|\\,|\\\|", "", text)
    for escape, character in {
        r"\-": "-",
        r"\(aq": "'",
        r"\(dq": '"',
        r"\e": "\\",
        r"\ ": " ",
        r"\(bu": "*",
    }.items():
        text = text.replace(escape, character)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\\[(\[*][^\s\]]{1,2}\]?", "", text)).strip()


def _joined(request: str, rest: str) -> str:
    """A request's arguments: set side by side where fonts alternate, as words otherwise."""
    arguments = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', rest)]
    return ("" if len(request) == 2 and request not in {"SH", "SS", "IP", "TP", "SM"} else " ").join(
        arguments
    )
