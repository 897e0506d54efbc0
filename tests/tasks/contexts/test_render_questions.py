"""Questions are read back as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.render import ASKED, Named

LINE = (
    st.text(max_size=30)
    .map(lambda text: render.text([text]).replace("\x85", ""))
    .map(lambda text: "".join(text.splitlines()))
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
    question = render.write(texts, description)
    assert render.write(texts[first:end], description) == render.about(
        question, len(texts), slice(first, end)
    )
