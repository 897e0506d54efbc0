r"""Safe output of text from outside: consoles, the layout of tables, error messages, and Markdown for Prefect's pages.

Explanations, messages of servers and names of files and columns come from outside. `console()` shows their control
characters, escape sequences and marks that change the direction of text by code (`\x1b`), and takes square brackets as
plain text: style is a `rich.text.Text` or the `style` of `print`. `inert` does the same for other output.

Browsers render Prefect's artifacts as Markdown, descriptions and cells of tables included: an image in an explanation
would be fetched, a link could be clicked, and HTML would become part of the page. `plain` and `rows` escape all that.

Commands that a message offers can be pasted into a shell: they have the path of gloss and the config, settings and lake
of the current command.
"""

import argparse
import logging
import os
import re
import shlex
import shutil
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from math import isnan
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from rich.box import SIMPLE
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Span, Text

DEFAULT_LAKE = "./gloss-lake"


def program() -> str:
    """`gloss` where a shell finds it, else its path relative to the working directory."""
    called = Path(sys.argv[0])
    return "gloss" if shutil.which("gloss") or called.name != "gloss" else os.path.relpath(called)


def lake_option(lake: str) -> str:
    """` --lake L`, or nothing for the default lake."""
    return "" if lake == DEFAULT_LAKE else f" --lake {shlex.quote(lake)}"


def config_command(options: argparse.Namespace, *words: str) -> str:
    """Another command on the config, `--set` and `--lake` of `options`; `words` name it, such as `batch read`."""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in options.set)
    lake = f" --lake {shlex.quote(options.lake)}" if options.lake else ""
    return f"{program()} {' '.join(words)} {shlex.quote(options.config)}{settings}{lake}"


JOINERS = {"\u200c", "\u200d"}
"""Invisible, but emoji and some scripts are made of them."""
_LAYOUT = {"\n", "\t"}


def harmless(character: str) -> bool:
    """Whether a terminal only draws the character; line breaks and tabs are harmless as well."""
    return (
        character.isprintable()
        or character in JOINERS
        or character in _LAYOUT
        or unicodedata.category(character) == "Zs"
    )


def code(character: str) -> str:
    r"""A character by its code: `\x1b`, `\u202e`."""
    return character.encode("unicode_escape").decode()


def inert(text: str) -> str:
    r"""The text with every character that could move the cursor, hide or reorder words shown by its code.

    Line breaks and tabs stay: a text in a table or in a sentence is better served by `one_line`.
    """
    if text.isprintable():
        return text
    return "".join(character if harmless(character) else code(character) for character in text)


def one_line(text: str) -> str:
    r"""As `inert`, on one line: a line break is shown as `⏎`, a tab as `\t`."""
    return inert(text).replace("\n", "⏎").replace("\t", "\\t")


class _Terminal(Console):
    """A console that escapes whatever text reaches it, before it is measured and again when it is drawn."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does, of the text made inert."""
        return super().render_str(inert(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does; segments that rich itself moves the cursor with are left as they are."""
        if isinstance(renderable, Text):
            renderable = _inert(renderable)
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(inert(segment.text), segment.style)


def _inert(text: Text) -> Text:
    """A styled text made inert, its styles where they were."""
    plain = text.plain
    if plain.isprintable():
        return text
    shown = [inert(character) for character in plain]
    places = [0, *accumulate(map(len, shown))]
    made = text.blank_copy("".join(shown))
    made.spans = [
        Span(places[span.start], places[min(span.end, len(plain))], span.style) for span in text.spans
    ]
    return made


def console(file: IO[str] | None = None, *, stderr: bool = False, **options: Any) -> Console:
    """The console to print through: on standard output, standard error or a file.

    Square brackets are plain text, numbers get no colours. `options` are rich's, such as `width` and `soft_wrap`.
    """
    return _Terminal(file=file, stderr=stderr, markup=False, highlight=False, emoji=False, **options)


def errors() -> Console:
    """Standard error, for sentences: they are not folded, so that they can be searched for and copied."""
    return console(stderr=True, soft_wrap=True)


def say_error(label: str, sentence: str, style: str = "red") -> None:
    """One sentence on standard error after a label such as `gloss:`."""
    errors().print(Text.assemble((label, style), " ", one_line(sentence)))


class Parser(argparse.ArgumentParser):
    """A parser of arguments that repeats none of them raw."""

    def error(self, message: str) -> NoReturn:
        """As argparse does: usage and message on standard error, exit code 2."""
        super().error(one_line(message))


class _Record(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  (logging's own name)
        return inert(super().getMessage())


@contextmanager
def guarded() -> Iterator[None]:
    """Make log records and warnings of libraries inert, and tracebacks of uncaught exceptions."""
    records, warned = logging.getLogRecordFactory(), warnings.formatwarning
    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = lambda *about, **more: inert(warned(*about, **more))
    sys.excepthook = _uncaught  # not put back: it is called after everything else has ended
    try:
        yield
    finally:
        logging.setLogRecordFactory(records)
        warnings.formatwarning = warned


def _uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    sys.stderr.write(inert("".join(traceback.format_exception(kind, error, where))))


NARROWEST_NAME = 12
"""Columns of names are not made narrower than this, in characters."""
LONGEST_WORD = 40
"""Columns of the terminal that a word may take in the title or caption of a table."""
_WORD = re.compile(r"\S+")
_PIECE = re.compile(r"\s*(?:[^\s/]+/?|/)")
"""What a name is broken between: at spaces, and after slashes."""


def shorten(name: str, width: int) -> str:
    """A name in at most `width` columns of the terminal, `…` for its middle: `llama-la…-layer-23`."""
    if cell_len(name) <= width:
        return name
    if width < 2:
        return set_cell_size(name, width)
    end = ""
    for character in reversed(name):
        if cell_len(character + end) > (width - 1) // 2:
            break
        end = character + end
    return f"{set_cell_size(name, width - 1 - cell_len(end)).rstrip()}…{end}"


def name_lines(name: str, width: int) -> list[str]:
    """A name such as `coder/explainer/scorer` in lines of at most `width` columns of the terminal.

    It is broken at spaces and after slashes alone; a piece that is too long for a line is shortened in its middle.
    """
    lines = [""]
    for piece in _PIECE.findall(name):
        if lines[-1] and cell_len(lines[-1] + piece) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [shorten(line, width) for line in lines]


class NameCell:
    """A name in a table, broken and shortened as `name_lines` does, to the width that its column has."""

    def __init__(self, name: str, style: str = "") -> None:
        self._name, self._style = one_line(name), style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """The whole name on one line, where there is room."""
        width = cell_len(self._name)
        return Measurement(min(width, NARROWEST_NAME), width).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Its lines."""
        for line in name_lines(self._name, options.max_width):
            yield Text(line, self._style, no_wrap=True)


def name_column(title: str, width: int | None = None) -> Column:
    """A column of `NameCell`s: as wide as its names, or narrower to make room for numbers, unless it has a `width`."""
    return Column(title, width=width, min_width=min(NARROWEST_NAME, cell_len(title)))


def number_column(title: str) -> Column:
    """A column of numbers, to the right and never broken."""
    return Column(title, justify="right", no_wrap=True)


def short_number(number: float | None) -> str:
    """`.42`, `-.07`, `1.0`: without the zero, so that more fits side by side; nothing for what is not known."""
    if number is None or isnan(number):
        return ""
    text = f"{number:.2f}"
    if text in {"1.00", "-1.00"}:
        return text[:-1]
    return text.replace("-0.00", "0.00").replace("0.", ".", 1) if abs(number) < 1 else text


def table(*columns: Column, title: str = "", caption: str = "", edges: bool = True) -> Table:
    """A table in the layout that all tables of gloss have; `edges` are the empty lines above and below it.

    Title and caption are wrapped between words; words longer than `LONGEST_WORD` are shortened in their middle.
    """
    return Table(
        *columns,
        title=_WORD.sub(lambda word: shorten(word[0], LONGEST_WORD), title) or None,
        title_justify="left",
        caption=_WORD.sub(lambda word: shorten(word[0], LONGEST_WORD), caption) or None,
        caption_justify="left",
        box=SIMPLE,
        show_edge=edges,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


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
    return _MARKS.sub(lambda match: f"&#{ord(match[0])};", one_line(text).strip())


def rows(table: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """The rows of a table artifact, in which texts show as they are; numbers, with their intervals, are left alone."""
    return [
        {
            name: plain(value) if isinstance(value, str) and not _NUMBERS.fullmatch(value) else value
            for name, value in row.items()
        }
        for row in table
    ]
