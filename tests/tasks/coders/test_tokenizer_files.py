"""Which tokens a model's tokenizer takes for control tokens, from its files alone."""

import json
from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.coders import tokenizer_files
from tasks.coders.tokenizer_files import control_tokens
from tests.flows.command import TOY


@pytest.fixture(autouse=True)
def afresh() -> None:
    """What one test wrote into a folder is nothing to another."""
    tokenizer_files.control_tokens.cache_clear()


def write(folder: Path, name: str, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")


def test_the_demo_s() -> None:
    """As its tokenizer has them."""
    assert frozenset({"<bos>", "<eos>", "<pad>"}) == control_tokens(str(TOY / "subject"))


def test_of_chatml_with_thoughts(tmp_path: Path) -> None:
    """All that is called special, and what the chat template writes; other added tokens are text."""
    added = [
        {"id": 1, "content": "<|im_end|>", "special": True},
        {"id": 2, "content": "<think>", "special": False},
        {"id": 3, "content": "<table>", "special": False},
        {"id": 4, "content": "\n\n", "special": False},
    ]
    write(tmp_path, "tokenizer.json", {"added_tokens": added, "model": {"vocab": {"a": 0}}})
    write(tmp_path, "tokenizer_config.json", {"chat_template": "<|im_start|>{{ x }}\n\n<think>"})
    assert frozenset({"<|im_end|>", "<think>"}) == control_tokens(str(tmp_path))


def test_of_configs_without_a_tokenizer_json(tmp_path: Path) -> None:
    """Slow tokenizers, whose names may be objects, and templates that lie beside or have names."""
    write(
        tmp_path,
        "tokenizer_config.json",
        {
            "bos_token": {"content": "<s>"},
            "unk_token": None,
            "add_bos_token": True,
            "additional_special_tokens": ["<a>", {"content": " <b> "}],
            "added_tokens_decoder": {"7": {"content": "[X]", "special": True}, "8": {"content": "[Y]"}},
            "chat_template": [{"name": "default", "template": "[Y]"}],
        },
    )
    write(tmp_path, "special_tokens_map.json", {"eos_token": "</s>"})
    write(tmp_path, "added_tokens.json", {"<z>": 9, "<w>": 10})
    write(tmp_path, "chat_template.jinja", "{{ '<z>' }}")
    result = control_tokens(str(tmp_path))
    assert frozenset({"<s>", "</s>", "<a>", "<b>", "[X]", "[Y]", "<z>"}) == result


def test_nothing_is_known_of_a_model_without_such_files(tmp_path: Path) -> None:
    """A name that no cache has, a folder without, one with broken files: null, and no error."""
    assert control_tokens("nobody/nothing") is None
    assert control_tokens("not a name") is None
    assert control_tokens(str(tmp_path)) is None
    write(tmp_path, "tokenizer.json", "{")
    write(tmp_path, "tokenizer_config.json", "[]")
    control_tokens.cache_clear()
    assert control_tokens(str(tmp_path)) is None


def test_of_the_hub_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is there already nobody is asked."""
    write(tmp_path, "tokenizer.json", {"added_tokens": [{"content": "<q>", "special": True}]})

    def cached(model: str, name: str, revision: str | None) -> str | None:
        assert ("owner/name", None) == (model, revision)
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    monkeypatch.setattr(
        tokenizer_files.files.HubFolder, "file", lambda *_: pytest.fail("nobody is to be asked")
    )
    assert frozenset({"<q>"}) == control_tokens("owner/name", fetch=True)


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only if so wanted: each try may wait for the network."""
    tried: list[str] = []

    def unreachable(_: object, name: str) -> None:
        tried.append(name)
        raise WrongRequest(name)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(tokenizer_files.files.HubFolder, "file", unreachable)
    assert control_tokens("owner/name") is None
    assert [] == tried
    assert control_tokens("owner/name", fetch=True) is None
    assert ["tokenizer.json"] == tried
