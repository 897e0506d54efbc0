"""Packed rows hold the text exactly, and say which document each part is of."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from storage.errors import WrongRequest
from storage.tables import TOKENS
from tasks.activations import pack as packing
from tasks.activations.corpus import Document
from tasks.activations.pack import packed_rows, packed_shards, token_texts
from tasks.activations.tokenise import tokenise_documents
from tests.tasks.activations.models import TEXTS, words

WORDS = words()
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
LENGTH = 8


def documents(*contents: str) -> list[Document]:
    """Documents in every third row."""
    return [Document(3 * number, text) for number, text in enumerate(contents)]


def packed(*contents: str, words: PreTrainedTokenizerFast = WORDS, rows: int = 1000) -> list[dict]:
    """The rows of documents."""
    return list(packed_rows(documents(*contents), words, LENGTH, rows))


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
    """Rows are of the `tokens` table, numbered from 0."""
    for table in packed_shards(documents(*TEXTS), WORDS, LENGTH, 1000, 1000):
        table.validate(full=True)

        assert TOKENS.conform(table).equals(table)
        assert list(range(table.num_rows)) == table["sequence"].to_pylist()


@settings(deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 20), st.booleans())
def test_shards_join_to_the_same_rows(contents: list[str], shard: int, rows: int, apart: bool) -> None:
    """However many rows a shard has, and however many are asked for, they are the first of the same rows."""
    how = "by_document" if apart else "joined"
    try:
        whole = list(packed_rows(documents(*contents), WORDS, LENGTH, 1000, how))
    except WrongRequest:
        return
    tables = list(packed_shards(documents(*contents), WORDS, LENGTH, rows, shard, how))

    assert whole[:rows] == [row for table in tables for row in table.to_pylist()]
    assert all(shard == len(table) for table in tables[:-1])
    assert 1 <= len(tables[-1]) <= shard


@settings(deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=6), st.sampled_from(["<bos>", None]))
def test_by_document_a_row_is_of_one(contents: list[str], bos: str | None) -> None:
    """Each document fills as many rows as it can from its beginning, and nothing else is in them."""
    tokenizer = words(TEXTS, bos)
    room = LENGTH - (bos is not None)
    expected = []
    for document in tokenise_documents(documents(*contents), tokenizer):
        for first in range(0, len(document.tokens) - room + 1, room):
            subset = slice(first, first + room)
            expected.append((
                [document.row],
                [int(document.offsets[first])],
                [*tokenizer.encode(bos or "", add_special_tokens=False), *document.tokens[subset].tolist()],
                [*([bos] if bos else []), *document.strings[subset]],
            ))  # fmt: skip
    result = []
    if expected:
        for row in packed_rows(documents(*contents), tokenizer, LENGTH, 1000, "by_document"):
            assert [int(bos is not None)] == row["starts"]
            result.append((row["documents"], row["offsets"], row["tokens"], row["strings"]))

    assert expected == result


def test_by_document_the_rest_is_dropped() -> None:
    """What does not fill a row, of a long document or of a short one, is nowhere; no separator is."""
    rows = list(packed_rows(documents("0123456789", "short", "7654321"), WORDS, LENGTH, 1000, "by_document"))

    assert [[0], [6]] == [row["documents"] for row in rows]
    assert [["<bos>", *"0123456"], ["<bos>", *"7654321"]] == [row["strings"] for row in rows]


def test_by_document_short_documents_are_refused() -> None:
    """When no document fills a row, both numbers are said."""
    with pytest.raises(
        WrongRequest, match=r"fills a sequence of 8, the longest has 6 tokens: .*packing joined"
    ):
        list(packed_rows(documents("1234", "123456"), WORDS, LENGTH, 1000, "by_document"))


def test_too_much_text_for_a_shard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow counts the bytes of a column's strings with 32 bits."""
    monkeypatch.setattr(packing, "MAX_TEXT_BYTES", 100)

    with pytest.raises(WrongRequest, match=r"20 sequences of 8 tokens .*: lower runner\.shard"):
        list(packed_shards(documents("0123456789" * 40), WORDS, LENGTH, 20, 20))
    assert 20 == sum(map(len, packed_shards(documents("0123456789" * 40), WORDS, LENGTH, 20, 5)))


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

    assert 5 == len(list(packed_rows(endless(), WORDS, LENGTH, 5)))


def test_the_rest_is_dropped() -> None:
    """A last row that is not full is left out."""
    assert 1 == len(packed("0123456789"))


@pytest.mark.parametrize("contents", [["123456"], ["12", "34"]])
def test_too_little_text_is_refused(contents: list[str]) -> None:
    """Documents that do not fill one row are refused with both numbers."""
    with pytest.raises(WrongRequest, match="tokens, less than one sequence of 8"):
        packed(*contents)


def test_single_tokens_have_their_text() -> None:
    """A token's text alone keeps its leading space; a piece of a character shows as such."""
    the = WORDS.encode(" the", add_special_tokens=False)
    piece = WORDS.encode("東", add_special_tokens=False)[0]

    assert [" the", "�", "<bos>"] == token_texts(WORDS, [*the, piece, 0])
