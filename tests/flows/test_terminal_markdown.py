"""What comes from outside shows its words in an artifact, and nothing else."""

import html

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from flows import terminal
from flows.report import Report, _markdown
from flows.terminal import plain, rows

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = (
    "![pixel](https://x.example/p.png)",
    "[click](javascript:alert(1))",
    "<img src=https://x.example/p.png onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<https://x.example>",
    "https://x.example/a www.x.example a@x.example",
    "a\n\n# heading\n\n| a | b |\n|---|---|",
    "one | two \\| three `|` four",
    "`code` ``` ~~~ **bold** _it_ ~~gone~~",
    "&lt;b&gt; &#60;i&#62;",
    "[x]: https://x.example\n[x]",
    "1. item", "- item", "+ item", "> quote", "=====", "-----", "    indented", "\\", "trailing\\",
)  # fmt: skip
PLAIN = {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "inline",
    "text",
    "text_special",
    "paragraph",
    "heading",
}


def _tokens(source: str) -> list[Token]:
    return [inner for token in RENDERER.parse(source) for inner in (token, *(token.children or ()))]


def _kinds(source: str) -> set[str]:
    return {token.type.removesuffix("_open").removesuffix("_close") for token in _tokens(source)}


def _words(text: str) -> str:
    """As a browser shows it: white space at the ends is nothing."""
    return terminal.one_line(text).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_one_paragraph_of_words(text: str) -> None:
    """No image, link, HTML, code, list, heading, rule or table comes of it."""
    assert _kinds(plain(text)) <= {"paragraph", "inline", "text", "text_special"}
    assert _words(text) == html.unescape(
        RENDERER.render(plain(text)).strip().removeprefix("<p>").removesuffix("</p>")
    )


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="[]()!<>`|\\*_~&#;:/.@-+=1a \n", max_size=30))
@example("|")
def test_any_text_fits_in_a_cell_and_is_shown_as_it_is(text: str) -> None:
    """A row has its three cells, and the middle one shows the text."""
    source = f"| a | b | c |\n|---|---|---|\n| x | {plain(text)} | y |"
    assert _kinds(source) <= PLAIN
    tokens = _tokens(source)
    cells = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "td_open"]
    assert 3 == len(cells)
    assert _words(text) == html.unescape(cells[1])


@pytest.mark.parametrize("text", ["https://x.example/a", "www.x.example", "a@x.example", "x.example"])
def test_no_address_stands_as_it_is(text: str) -> None:
    """Renderers turn those into links that have no mark around them."""
    assert text not in plain(text)


def test_plain_prose_stays_readable() -> None:
    """An artifact's source is read too, by who asks Prefect's API for it."""
    message = 'Words for moving through water, well-known ones (swam, dived); "also" Ms. Smith\'s.'
    assert message == plain(message)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_summary_shows_an_explanation_and_the_names_as_words(text: str) -> None:
    """Of the whole artifact: a heading, a list, one table with one row of the explanation."""
    row = {"coder": text, "chosen": 1, "width": 2, "explained": 1, "skipped": 0, "failed": 0}
    missing = {"features": 1, "coder": text, "explainer": text}
    best = {"coder": text, "feature": 3, "explanation": text, "score": 0.8, "low": None}
    result = Report(
        run="r", lake=text, counts=[row], skipped=[], lines=[], best=[best], unexplained=[missing]
    )
    source = _markdown(result)
    assert _kinds(source) <= PLAIN | {"bullet_list", "list_item", "strong"}
    assert 5 == sum(token.type == "td_open" for token in _tokens(source))


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_of_a_table_artifact_show_words(text: str) -> None:
    """Prefect's page renders each of them as markdown of its own."""
    (row,) = rows([{"answer": text, "n": 3, "none": None}])
    assert _kinds(str(row["answer"])) <= {"paragraph", "inline", "text", "text_special"}
    assert (3, None) == (row["n"], row["none"])


def test_cells_of_numbers_stay_as_they_are() -> None:
    """Who asks Prefect's API for a table reads them from there."""
    assert [{"score": "0.71 [0.69, 0.73]"}] == rows([{"score": "0.71 [0.69, 0.73]"}])
