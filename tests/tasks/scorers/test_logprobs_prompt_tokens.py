"""Finding the tokens of a text at the end of a prompt, however its server spells them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.request import TokenLogprob, Unreadable
from tasks.scorers.logprobs import skeleton, tokens_from


def replaced(pieces: Sequence[bytes]) -> list[str]:
    """Bytes that are no character by themselves become replacement signs."""
    return [piece.decode(errors="replace") for piece in pieces]


def stripped(pieces: Sequence[bytes]) -> list[str]:
    """As above, and a leading space is lost."""
    return [text.removeprefix(" ") for text in replaced(pieces)]


def finished(pieces: Sequence[bytes]) -> list[str]:
    """The token that ends a character has all of it, those before it have nothing (vLLM)."""
    texts, open_bytes = [], b""
    for piece in pieces:
        try:
            texts.append((open_bytes + piece).decode())
            open_bytes = b""
        except UnicodeDecodeError:
            texts.append("")
            open_bytes += piece
    return texts


def cut(text: str, start: int, cuts: Sequence[int]) -> tuple[list[bytes], int]:
    """A text in pieces of bytes, and the first piece with anything of `text[start:]`.

    They are cut anywhere, but none joins the start of the text with the first bytes of a character: no tokenizer does.
    """
    whole, begin = text.encode(), len(text[:start].encode())
    beside = begin + len(text[start : start + 1].encode())
    inside = [] if begin in cuts else range(begin + 1, beside)
    places = sorted({0, beside, len(whole), *(cut for cut in cuts if cut < len(whole) and cut not in inside)})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    return pieces, next(i for i, end in enumerate(places[1:]) if end > begin)


WORDS = st.text(st.sampled_from("ab ,\n\té語🙂ü?"), max_size=30)


@given(
    before=WORDS,
    text=WORDS.filter(bool),
    cuts=st.lists(st.integers(1, 200)),
    spelled=st.sampled_from([replaced, finished]),
)
def test_every_token_of_the_text_is_found_and_no_other(
    before: str, text: str, cuts: list[int], spelled: Callable[[Sequence[bytes]], list[str]]
) -> None:
    """A token that straddles the beginning is one of them; the first token's text is never known."""
    prompt, start = f"x{before}\n{text}", len(before) + 2
    pieces, first = cut(prompt, start, [1, *cuts])
    tokens = [TokenLogprob(item, float(place), {}) for place, item in enumerate(spelled(pieces))]
    tokens[0] = TokenLogprob("", None, {})
    assert tokens[first:] == list(tokens_from(prompt, start, tokens))


@given(words=st.lists(st.sampled_from([" a", "b", " 語", "\n", ",", " "]), min_size=1, max_size=9))
def test_spaces_that_a_server_leaves_out_are_not_missed(words: list[str]) -> None:
    """Tokens of one word each, of which some tokenizers tell all but the space before it."""
    pieces = ["<s>", "Texts", ":", "\n", *words]
    tokens = [
        TokenLogprob(text, float(i), {}) for i, text in enumerate(stripped([p.encode() for p in pieces]))
    ]
    prompt = "".join(pieces[1:])
    assert tokens[4:] == list(tokens_from(prompt, len("Texts:\n"), tokens))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["", ":", "\n", "one", " too"], "don't spell the prompt: ' too'"),
        (["", "one", " two"], "don't spell the prompt: 'one'"),
        ([" two"], "is left"),
        ([], "is left"),
    ],
)
def test_tokens_of_another_text_are_refused(texts: list[str], reason: str) -> None:
    """Such as those of a prompt that a proxy changed, or a reply that was cut."""
    tokens = [TokenLogprob(text, -1.0, {}) for text in texts]
    with pytest.raises(Unreadable, match=reason):
        tokens_from("Texts:\n one, two", 7, tokens)


def test_what_servers_give_back_as_it_was_are_ascii_characters_but_for_spaces() -> None:
    """The rest is spelled in three ways at least."""
    assert "a\t\nb" == skeleton(" a\t é\nb🙂")
