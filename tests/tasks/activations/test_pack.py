"""Packed rows hold the text exactly, and say which document each part is of."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from storage.errors import WrongRequest
from storage.tables import TOKENS
from tasks.activations.corpus import Document
from tasks.activations.pack import pack, texts, tokenised
from tests.tasks.activations.models import TEXTS, words

WORDS = words()
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
LENGTH = 8


def documents(*contents: str) -> list[Document]:
    """Documents in every third row."""
    return [Document(3 * number, text) for number, text in enumerate(contents)]


def packed(*contents: str, words: PreTrainedTokenizerFast = WORDS, rows: int = 1000) -> list[dict]:
    """The rows of documents."""
    return list(pack(documents(*contents), words, LENGTH, rows))


@settings(deadline=None)
@given(ANY_TEXT)
def test_strings_join_to_the_text(text: str) -> None:
    """The strings of a document's tokens, joined, are its text, whatever characters split over tokens."""
    for document in tokenised(documents(text), WORDS):
        assert text == "".join(document.strings)
        assert len(document.tokens) == len(document.strings)


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_split_character_stands_at_its_last_token(text: str) -> None:
    """A token's string is the characters whose last byte is in it, and empty when there are none."""
    ends = np.cumsum([len(character.encode()) for character in text])
    for document in tokenised(documents(text), WORDS):
        # A byte-level token is written with one character for each of its bytes.
        sizes = [len(token) for token in WORDS.convert_ids_to_tokens(document.tokens)]
        expected = [""] * len(sizes)
        for character, holder in zip(text, np.searchsorted(np.cumsum(sizes), ends), strict=True):
            expected[holder] += character

        assert expected == document.strings


@settings(deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=6))
def test_rows_round_trip(contents: list[str]) -> None:
    """Every part of a row is its document's text from its offset on; parts follow without a gap."""
    try:
        rows = packed(*contents)
    except WrongRequest:
        return
    reached = {3 * number: 0 for number in range(len(contents))}
    for row in rows:
        assert LENGTH == len(row["tokens"]) == len(row["strings"])
        assert (0, "<bos>") == (row["tokens"][0], row["strings"][0])
        ends = [*(start - 1 for start in row["starts"][1:]), LENGTH]
        for at, (document, start, end) in enumerate(zip(row["documents"], row["starts"], ends, strict=True)):
            part = "".join(row["strings"][start:end]).removesuffix("<eos>")
            text = contents[document // 3]
            assert reached[document] == row["offsets"][at]
            assert text[row["offsets"][at] :].startswith(part)
            reached[document] += len(part)


def test_rows_fit_the_table() -> None:
    """Rows conform to the `tokens` table, numbered from 0."""
    table = TOKENS.rows(packed(*TEXTS))

    assert list(range(table.num_rows)) == table["sequence"].to_pylist()


def test_documents_are_separated_by_eos() -> None:
    """One separator stands between documents inside a row, none at a row's beginning."""
    row = packed("ab", "cd", "ef gh ij kl")[0]

    assert "<bos>ab<eos>cd<eos>" == "".join(row["strings"])[: len("<bos>ab<eos>cd<eos>")]
    assert [0, 3, 6] == row["documents"]
    assert [0, 0, 0] == row["offsets"]
    assert all("<eos>" == row["strings"][start - 1] for start in row["starts"][1:])


def test_no_separator_opens_a_row() -> None:
    """A document that begins a row follows the first token directly."""
    first, second = packed("1234567", "abcdefg" * 3)[:2]

    assert "<bos>1234567" == "".join(first["strings"])
    assert "<bos>abc" == "".join(second["strings"])[:8]
    assert ([3], [1], [0]) == (second["documents"], second["starts"], second["offsets"])


def test_a_separator_may_end_a_row() -> None:
    """A separator that fills the row is followed by the next document in a new one."""
    first, second = packed("123456", "1234567")

    assert "<bos>123456<eos>" == "".join(first["strings"])
    assert ([0], "<bos>1234567") == (first["documents"], "".join(second["strings"]))


def test_a_document_continues_in_the_next_row() -> None:
    """A continued document starts after the first token, at the character that it has come to."""
    rows = packed("0123456789" * 3)

    assert [0, 7, 14, 21] == [row["offsets"][0] for row in rows]
    assert all(([0], [1]) == (row["documents"], row["starts"]) for row in rows)


@pytest.mark.parametrize("eos", ["<eos>", None])
def test_without_bos_none_is_put(eos: str | None) -> None:
    """A tokenizer without a first token gets none; without a last one either, documents touch."""
    row = packed("1234", "5678", words=words(TEXTS, None, eos))[0]

    assert f"1234{eos or ''}5678".startswith("".join(row["strings"]))
    assert 0 == row["starts"][0]


def test_without_eos_bos_separates() -> None:
    """A tokenizer without a last token separates documents by the first."""
    row = packed("123", "456", words=words(TEXTS, "<bos>", None))[0]

    assert "<bos>123<bos>456" == "".join(row["strings"])


def test_rows_end_at_the_number_asked_for() -> None:
    """No more rows come than were asked for, and no more documents are read than they need."""

    def endless() -> Iterator[Document]:
        for number in range(10**6):
            yield Document(number, "word " * 10_000)
        pytest.fail("read to the end")

    assert 5 == len(list(pack(endless(), WORDS, LENGTH, 5)))


def test_the_rest_is_dropped() -> None:
    """A last row that is not full is left out."""
    assert 1 == len(packed("0123456789"))


@pytest.mark.parametrize("contents", [["123456"], ["12", "34"]])
def test_too_little_text_is_refused(contents: list[str]) -> None:
    """Documents that do not fill one row are refused with both numbers."""
    with pytest.raises(WrongRequest, match="tokens, less than one sequence of 8"):
        packed(*contents)


def test_special_names_in_the_text_stay_text() -> None:
    """A document that spells out a special token still joins to its own text."""
    text = "a<eos>b <bos> c and more of it"

    (document,) = tokenised(documents(text), WORDS)

    assert text == "".join(document.strings)


def test_single_tokens_have_their_text() -> None:
    """A token's text alone keeps its leading space; a piece of a character shows as such."""
    the = WORDS.encode(" the", add_special_tokens=False)
    piece = WORDS.encode("東", add_special_tokens=False)[0]

    assert [" the", "�", "<bos>"] == texts(WORDS, [*the, piece, 0])
