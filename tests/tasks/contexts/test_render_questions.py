"""Questions are read back as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.render import ASKED, Named

LINE = st.one_of(st.text(max_size=30), st.text("ab\t\r\n\x85\u2028␞", max_size=8)).map(
    lambda text: render.text([text])
)


@given(
    texts=st.lists(LINE, min_size=1, max_size=5),
    description=st.one_of(st.none(), LINE),
    named=st.sampled_from([None, *ASKED]),
)
def test_a_question_is_read_as_it_was_written(
    texts: list[str], description: str | None, named: Named | None
) -> None:
    """Whatever the contexts say, what is to be named and how many are shown is understood."""
    result = render.read_question(render.write(texts, description, named))
    if description is None and named is None:
        assert result is None
    else:
        assert result is not None
        assert (description, named, len(texts)) == (result.description, result.named, len(result.examples))


@pytest.mark.parametrize(
    "text", ["", "Who are you?", "Description: boats\n\nnothing else", ASKED["intruder"]]
)
def test_what_shows_no_example_is_no_question(text: str) -> None:
    """Whatever it asks for."""
    assert render.read_question(text) is None


def test_a_context_that_holds_the_last_line_is_no_last_line() -> None:
    """Only a line of its own at the end counts."""
    result = render.read_question(render.write([ASKED["intruder"], ASKED["described"]], "x"))
    assert result is not None
    assert result.named is None


@given(st.lists(LINE, min_size=1, max_size=5), st.text(max_size=30), st.data())
def test_a_question_about_some_is_one_that_was_written_about_them(
    texts: list[str], description: str, data: st.DataObject
) -> None:
    """Whatever the description says, be it in several lines that look like examples."""
    first = data.draw(st.integers(0, len(texts) - 1))
    end = data.draw(st.integers(first + 1, len(texts)))
    question = render.write(texts, description, "each")
    assert render.write(texts[first:end], description, "each") == render.about(
        question, len(texts), slice(first, end)
    )


def test_the_last_line_says_what_answer_is_wanted() -> None:
    """How many digits where several are shown, one where one is; a question about a part asks for as many as it has."""
    five = render.write(list("abcde"), "x", "each")
    assert five.endswith("\n\nWhich examples fit the description? Answer with a list of 5 digits.")
    assert "list of 2 digits" in render.about(five, 5, slice(3, None))
    assert render.write(["a"], "x", "single").endswith("Answer with one digit.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", None),
        ("\tx\r\n", "⇥ stands for a tab.\n␍ stands for a carriage return.\n\nExample 1: ⇥x␍⏎"),
        ("a\tb", "⇥ stands for a tab.\n\nExample 1: a⇥b"),
    ],
)
def test_signs_that_are_seldom_are_explained_where_they_occur(text: str, expected: str | None) -> None:
    """One line each, between the description and the examples; few prompts pay for them."""
    asked = render.write([render.text([text])], "x", "each")
    start = expected or "Example 1: a b"
    assert asked.startswith(f"Description: x\n\n{start}\n\nWhich")
