"""Text of outside in the markdown of Prefect's artifacts, which browsers render: only its words are shown.

An image in an explanation would be fetched from wherever it says, a link be clickable, HTML be part of the page.
"""

import re

from flows.terminal import one_line

_MARKS = re.compile(
    r"""
    [&<>\[\]`*_~|\\#=+@${}^!]       # entities, HTML, links, code, emphasis, tables, headings, mathematics
    | [.:/](?=\S)                   # addresses, which are links without any mark around them
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
