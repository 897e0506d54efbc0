"""Text of outside in Prefect's artifacts, which browsers render as markdown: only its words are shown.

Descriptions and the cells of tables are rendered as well.
An image in an explanation would be fetched from wherever it says, a link be clickable, HTML be part of the page.
"""

import re
from collections.abc import Iterable, Mapping

from flows.terminal import one_line

_NUMBERS = re.compile(r"[+-]?\d[\d .,+%\[\]-]*")
"""`0.71 [0.69, 0.73]`, which is no link without a parenthesis or a colon."""
_MARKS = re.compile(
    r"""
    [&<>\[\]`*_~|\\#=+@${}^!]       # entities, HTML, links, code, emphasis, tables, headings, mathematics
    | :(?=\S) | \.(?=[^\s\d])       # addresses, which are links without any mark around them
    | (?<!\w)- | -(?!\w)            # lists and rules, but not the hyphen of a word
    | (?<=\d)[.)]                   # numbered lists
    """,
    re.VERBOSE,
)


def plain(text: str) -> str:
    """Markdown that shows a text as it is, on one line: fit for a cell of a table, a heading or a paragraph.

    Spaces at its ends are left out: four of them would begin a block of code. A character reference is never taken for
    structure, whatever the renderer and its extensions.
    """
    return _MARKS.sub(lambda found: f"&#{ord(found[0])};", one_line(text).strip())


def rows(table: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """The rows of a table artifact, in which texts show as they are; numbers, with their intervals, are left alone."""
    return [
        {
            name: plain(value) if isinstance(value, str) and not _NUMBERS.fullmatch(value) else value
            for name, value in row.items()
        }
        for row in table
    ]
