"""Tokens know their text, whether their names spell it or the tokenizer is asked for it."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from tasks.activations import tokenise
from tasks.activations.corpus import Document
from tasks.activations.tokenise import TokenisedDocument, tokenise_documents
from tests.tasks.activations.models import words

WORDS = words()
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def documents(*contents: str) -> list[Document]:
    """Documents in every third row."""
    return [Document(3 * number, text) for number, text in enumerate(contents)]


def pieces() -> PreTrainedTokenizerFast:
    """A tokenizer as Gemma has it: spaces are letters, and what is not in the vocabulary is spelt in bytes."""
    letters = [
        "<unk>",
        "<bos>",
        "<eos>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *"▁abcdeü",
        "▁a",
        "ab",
        "▁▁",
    ]
    merges = [("▁", "a"), ("a", "b"), ("▁", "▁")]
    vocabulary = {name: number for number, name in enumerate(letters)}
    inner = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def trimming() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose offsets leave out spaces, as GPT-2's do."""
    made = words()
    made.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def composing() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that composes characters before it reads them, as Qwen's does."""
    made = words()
    made.backend_tokenizer.normalizer = normalizers.NFC()
    return made


def cutting() -> PreTrainedTokenizerFast:
    """A tokenizer whose file asks for short texts of equal length."""
    made = words()
    made.backend_tokenizer.enable_truncation(4)
    made.backend_tokenizer.enable_padding(length=4)
    return made


TOKENIZERS = {"words": WORDS, "pieces": pieces(), "trimming": trimming(), "composing": composing()}


def by_offsets(tokenizer: PreTrainedTokenizerFast, *contents: str) -> list[TokenisedDocument]:
    """The documents by what the tokenizer says of them."""
    with patch.object(tokenise, "_by_spelling", lambda *_: None):
        return list(tokenise_documents(documents(*contents), tokenizer))


@settings(deadline=None)
@given(ANY_TEXT)
def test_strings_join_to_the_text(text: str) -> None:
    """The strings of a document's tokens, joined, are its text, whatever characters split over tokens."""
    for document in tokenise_documents(documents(text), WORDS):
        assert text == "".join(document.strings)
        assert len(document.tokens) == len(document.strings)


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_split_character_stands_at_its_last_token(text: str) -> None:
    """A token's string is the characters whose last byte is in it, and empty when there are none."""
    ends = np.cumsum([len(character.encode()) for character in text])
    for document in tokenise_documents(documents(text), WORDS):
        # A byte-level token is written with one character for each of its bytes.
        sizes = [len(token) for token in WORDS.convert_ids_to_tokens(document.tokens.tolist())]
        expected = [""] * len(sizes)
        for character, holder in zip(text, np.searchsorted(np.cumsum(sizes), ends), strict=True):
            expected[holder] += character

        assert expected == document.strings


def test_special_names_in_the_text_stay_text() -> None:
    """A document that spells out a special token still joins to its own text."""
    text = "a<eos>b <bos> c and more of it"

    (document,) = tokenise_documents(documents(text), WORDS)

    assert text == "".join(document.strings)


def test_documents_without_tokens_leave_nothing() -> None:
    """A tokenizer that drops a document's whole text gives none of it to the document before."""
    tokenizer = words()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("#", "")

    result = list(tokenise_documents(documents("##", "ab#", "#", "cd"), tokenizer))

    assert [(3, ["a", "b#"]), (9, ["c", "d"])] == [(document.row, document.strings) for document in result]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None)
@given(contents=st.lists(ANY_TEXT | st.text("ab  ü東🙂\n<bos>"), min_size=1, max_size=4))
def test_spelling_and_offsets_say_the_same(name: str, contents: list[str]) -> None:
    """Tokens are equal, and so is where they stand; their texts join to the document either way."""
    tokenizer = TOKENIZERS[name]
    spelt, asked = list(tokenise_documents(documents(*contents), tokenizer)), by_offsets(tokenizer, *contents)

    for item, other in zip(spelt, asked, strict=True):
        assert item.row == other.row
        assert item.tokens.tolist() == other.tokens.tolist()
        assert contents[item.row // 3] == "".join(item.strings) == "".join(other.strings)
        for document in (item, other):
            lengths = np.cumsum([0, *map(len, document.strings)])
            assert lengths[:-1].tolist() == document.offsets.tolist()
    if name == "words":
        assert [document.strings for document in spelt] == [document.strings for document in asked]


@pytest.mark.parametrize("name", ["words", "pieces", "trimming"])
def test_names_spell_what_is_read(name: str) -> None:
    """Tokenizers that read bytes as they are need not be asked."""
    with patch.object(tokenise, "_by_offsets", side_effect=AssertionError):
        result = list(tokenise_documents(documents("a ab  ü 東🙂", "<bos> ab"), TOKENIZERS[name]))

    assert ["a ab  ü 東🙂", "<bos> ab"] == ["".join(document.strings) for document in result]


def test_what_is_not_spelt_is_asked_for() -> None:
    """From the first batch on that a tokenizer reads otherwise."""
    composed, decomposed = "B\u00e4r", "Ba\u0308r"
    with (
        patch.object(tokenise, "BATCH_CHARACTERS", 1),
        patch.object(tokenise, "_by_spelling", wraps=tokenise._by_spelling) as spelt,
    ):
        result = list(tokenise_documents(documents(composed, decomposed, composed), TOKENIZERS["composing"]))

    assert [composed, decomposed, composed] == ["".join(document.strings) for document in result]
    assert result[0].tokens.tolist() == result[1].tokens.tolist()
    assert 2 == spelt.call_count


def test_documents_are_not_cut_short() -> None:
    """Whatever length a tokenizer's file asks for."""
    (result,) = tokenise_documents(documents("0123456789"), cutting())
    (asked,) = by_offsets(cutting(), "0123456789")

    assert list("0123456789") == result.strings == asked.strings


def test_no_document_makes_no_token() -> None:
    """Nothing comes of a batch in which nothing is read."""
    tokenizer = words()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("#", "")

    assert [] == list(tokenise_documents(documents("#", "##"), tokenizer)) == by_offsets(tokenizer, "#")
