"""What is rendered can be read back, whatever the text."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.visible import shown_together

STRING = st.one_of(
    st.text(max_size=6),
    st.text('<>"(), ⏎\n\r\t\x02\x03a1', max_size=6),
    st.sampled_from(["<<", ">>", "<", ">", "", "\n", "Example 2: ", "Activations: ", '", "']),
)
TOKENS = st.lists(st.tuples(STRING, st.sampled_from([0.0, 0.0, 0.5, 3.0, 10.0])), min_size=1, max_size=12)


def made(tokens: list[tuple[str, float]]) -> Context:
    strings, activations = zip(*tokens, strict=True)
    return Context(0, "activating" if any(activations) else "random", None, strings, activations)


def brackets(text: str) -> str:
    """Text with look-alikes turned back."""
    return text.replace("‹", "<").replace("›", ">")


def spans(context: Context) -> list[tuple[str, int]]:
    """Marked neighbours joined, and where they begin in the plain text."""
    marked, spans, start = set(render.strongest(context)), [], 0
    runs = shown_together(context.strings)
    for is_marked, group in groupby(runs, lambda run: not marked.isdisjoint(range(run.start, run.stop))):
        text = "".join(render.plain(string) for run in group for string in context.strings[run])
        if is_marked:
            spans.append((brackets(text), start))
        start += len(text)
    return spans


@given(st.lists(TOKENS, min_size=1, max_size=4))
def test_what_an_explainer_sees_is_read_back(tokens: list[list[tuple[str, float]]]) -> None:
    """Texts, marked spans with their places, and listed activations come out as they went in."""
    contexts = [made(context) for context in tokens]
    shown = "\n\n".join(render.explained(number, context, 10.0) for number, context in enumerate(contexts, 1))
    read = render.read(shown)
    assert len(contexts) == len(read)
    for original, back in zip(contexts, read, strict=True):
        assert brackets("".join(render.plain(string) for string in original.strings)) == brackets(back.text)
        assert spans(original) == [(brackets(span), start) for span, start in back.spans]
        assert tuple(render.importance(original, 10.0)) == back.activations


@given(st.lists(TOKENS, min_size=1, max_size=4), st.data())
def test_what_a_judge_sees_is_read_back(tokens: list[list[tuple[str, float]]], data: st.DataObject) -> None:
    """Any places can be marked; the number of examples is never mistaken."""
    texts, expected = [], []
    for pieces in tokens:
        strings = [string for string, _ in pieces]
        marked = data.draw(st.sets(st.sampled_from(range(len(strings)))))
        texts.append(render.text(strings, marked))
        groups = groupby(
            shown_together(strings),
            lambda run, chosen=marked: not chosen.isdisjoint(range(run.start, run.stop)),
        )
        expected.append(sum(is_marked for is_marked, _ in groups))
    read = render.read(render.numbered(texts))
    assert expected == [len(pieces.spans) for pieces in read]
    for pieces, back in zip(tokens, read, strict=True):
        assert brackets("".join(render.plain(string) for string, _ in pieces)) == brackets(back.text)


@given(TOKENS)
def test_unmarked_text_has_no_markers(tokens: list[tuple[str, float]]) -> None:
    """Brackets of the text itself are never taken for markers, and everything stands on one line."""
    line = render.text([string for string, _ in tokens])
    assert not {render.OPEN, render.CLOSE, "\n"} & {line[i : i + n] for i in range(len(line)) for n in (1, 2)}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("He| un:7|tied| it", "He<< un>>tied it"),
        ("He| un:7|tied:7| it", "He<< untied>> it"),
        ("He| un:7|tied:2| it", "He<< un>>tied it"),
        ("one|\n|line:1", "one⏎<<line>>"),
        ("if| a| <<| b:1", "if a ‹‹<< b>>"),
        ("a|<:1|b|>:1|>", "a<<‹>>b<<›>>›"),
    ],
)
def test_strong_tokens_are_marked(written: str, expected: str) -> None:
    """Those above three tenths of the peak, neighbours under one pair of markers, on one line."""
    shown = context(written)
    assert expected == render.text(shown.strings, render.strongest(shown))


def test_activations_are_tenths_of_the_feature_s_largest() -> None:
    """Rounded down, the silent and the nearly silent left out, never above ten."""
    shown = context("a:0.79|b:0.8|c:7.99|d:8|e:9|f")
    assert [("b", 1), ("c", 9), ("d", 10), ("e", 10)] == render.importance(shown, 8.0)
    assert [] == render.importance(shown, 0.0)


def test_a_silent_context_has_no_marks() -> None:
    """Nothing is above three tenths of nothing."""
    assert () == render.strongest(context("a|b"))
    assert "Example 3: ab" == render.explained(3, context("a|b"), 8.0)


def test_examples_alone_are_told_from_examples_beside_something_else() -> None:
    """What understands nothing but examples can see whether it was shown more."""
    example = render.explained(1, context("a|\n|b:3| c"), 10.0)
    counter = render.counterexample(1, context("a|\n|b| <|<|c"))
    assert "Counterexample 1: a⏎b ‹‹c" == counter
    assert render.examples_only(f"{example}\n\n{render.numbered(['x', ''])}\n\n{counter}")
    assert not render.examples_only(f"{example}\n\nMade likelier: {render.quoted([' a', 'b'])}")
    assert 'Made likelier: " a", "b"' == f"Made likelier: {render.quoted([' a', 'b'])}"


def test_a_description_may_look_as_if_instructions_began_in_it() -> None:
    """Whether instructions stand below the question or not, the question is read back whole."""
    question = render.write(["so ⏎ so", "no"], "verbs\n\nInstructions: of motion", "each")
    assert render.without_instructions(question) == question
    instructed = render.instructed(question, "Answer with digits.\n\nBe brief.")
    assert render.without_instructions(instructed) == question
    for text in (question, instructed):
        read = render.read_question(text)
        assert read is not None
        assert read.named == "each"
        assert len(read.examples) == 2
