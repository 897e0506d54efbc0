"""The reader of kind `transformers`: its config, what it refuses, and how requests reach the model."""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from storage.errors import WrongRequest
from tasks.llm.dispatch import ask_all, ask_fitting
from tasks.llm.in_process import load
from tasks.llm.in_process.reader import TransformersReader
from tasks.llm.request import Message, Outcome, Request, half_key
from tests.tasks.llm.in_process.models import POSITIONS, model, tokenizer

ASKED = tuple(
    Request(f"7/0/none/{number}", messages=(Message("user", f"Is it {number}?"),), max_tokens=4)
    for number in range(5)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    made = tmp_path_factory.mktemp("models") / "tiny"
    model().save_pretrained(made)
    tokenizer().save_pretrained(made)
    return made


def reader(folder: Path, **keys: object) -> TransformersReader:
    """A reader of it."""
    return TransformersReader.model_validate(
        {"kind": "transformers", "model": str(folder), "device": "cpu", "cache_gb": 0.002} | keys
    )


def asked(config: TransformersReader, *requests: Request) -> list[Outcome]:
    """Outcomes in the order of the requests."""

    async def run() -> list[Outcome]:
        async with config.open() as opened:
            return await ask_all(opened, requests)

    return asyncio.run(run())


def checked(config: TransformersReader, *examples: Request) -> None:
    """Check it."""
    asyncio.run(config.check(examples))


def changed(folder: Path, copy: Path, file: str, **values: object) -> Path:
    """A copy of a model's folder with other values in one of its JSON files; None removes one."""
    copy.mkdir()
    for source in folder.iterdir():
        (copy / source.name).write_bytes(source.read_bytes())
    if values:
        content = json.loads((copy / file).read_text()) | values
        (copy / file).write_text(
            json.dumps({key: value for key, value in content.items() if value is not None})
        )
    return copy


def test_a_config_loads_no_torch() -> None:
    """It is read by every command."""
    code = "import tasks.llm.in_process.reader, sys; print('torch' in sys.modules or 'llguidance' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_requests_are_answered_together(folder: Path) -> None:
    """Outcomes say who answered, how, and what it took."""
    outcomes = asked(reader(folder), *ASKED, replace(ASKED[0], key="7/1", choices=("1", "0")))
    assert [None] * 6 == [outcome.reason for outcome in outcomes]
    assert {("embedded", "tiny", 1)} == {(item.endpoint, item.model, item.attempts) for item in outcomes}
    assert outcomes[-1].reply
    assert outcomes[-1].reply.text in ("0", "1")
    assert [None] * 5 + ["structured_outputs"] == [outcome.structured for outcome in outcomes]
    assert all(outcome.latency > 0 for outcome in outcomes)


def test_what_is_too_long_is_asked_in_halves(folder: Path) -> None:
    """As with a server, by whoever can split it."""
    long = replace(ASKED[0], messages=(Message("user", "the sea and the ship " * 150),))

    def halves(request: Request) -> Sequence[Request]:
        text = request.messages[0].text
        parts = (text[: len(text) // 2], text[len(text) // 2 :])
        return [
            replace(request, key=half_key(request.key, n), messages=(Message("user", part),))
            for n, part in enumerate(parts, 1)
        ]

    async def run() -> list[Outcome]:
        async with reader(folder).open() as opened:
            return await ask_fitting(opened, [long], halves)

    outcomes = asyncio.run(run())
    assert outcomes[0].too_long
    assert f"{POSITIONS}" in (outcomes[0].reason or "")
    assert outcomes[-1].reply is not None


def test_readers_of_one_model_share_it_while_one_is_open(folder: Path) -> None:
    """Its memory is free when the last is closed."""

    async def run() -> None:
        explainer, judge, base = reader(folder), reader(folder, optional=True), reader(folder, chat="plain")
        async with explainer.open() as first, judge.open() as second, base.open() as third:
            assert first._engine is second._engine is not third._engine
            assert 1 == len(load._models)
            assert 2 == len(load._engines)
            assert (await first.ask(ASKED[0])).reply is not None

    gc.collect()
    asyncio.run(run())
    assert (0, 0) == (len(load._engines), len(load._models))


def test_closing_ends_what_is_asked(folder: Path) -> None:
    """Who waits is cancelled, and the thread has ended."""
    long = replace(ASKED[0], max_tokens=400)

    async def run() -> None:
        async with reader(folder).open() as opened:
            asking = asyncio.create_task(opened.ask(long))
            await asyncio.sleep(0.05)
        assert opened._working is not None
        assert opened._working.done()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(run())


def test_a_failure_of_the_model_is_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next requests are answered."""

    async def run() -> None:
        async with reader(folder).open() as opened:
            with monkeypatch.context() as patched:
                patched.setattr(opened._engine, "answer", lambda *_: 1 / 0)
                outcome = await opened.ask(ASKED[0])
            assert "the model failed: division by zero" == outcome.reason
            assert (await opened.ask(ASKED[0])).reply is not None

    asyncio.run(run())


def test_what_decides_its_answers_is_its_identity(folder: Path, tmp_path: Path) -> None:
    """The model's files, wherever they lie, its dtype and how chats are written; not how many are asked at once."""
    copy = changed(folder, tmp_path / "elsewhere", "config.json")
    other = changed(folder, tmp_path / "other", "config.json", rms_norm_eps=1e-3)
    own = reader(folder).identity()
    assert (
        own == reader(copy, in_flight=3, batch_tokens=9, cache_gb=1, replies="off", optional=True).identity()
    )
    for config in (reader(folder, dtype="bfloat16"), reader(folder, chat="plain"), reader(other)):
        assert own != config.identity()


def test_chat_templates_and_what_ends_a_reply_are_part_of_its_identity(folder: Path, tmp_path: Path) -> None:
    """Though not of the tokenizer's digest, which says what a subject computes."""
    own = reader(folder)
    identities = [own.identity()]
    for number, file in enumerate(
        (
            "chat_template.jinja",
            "chat_template.json",
            "generation_config.json",
            "additional_chat_templates/tool.jinja",
        )
    ):
        copy = changed(folder, tmp_path / f"{number}", "config.json")
        (copy / file).parent.mkdir(exist_ok=True)
        (copy / file).write_text('{"eos_token_id": 5}')
        other = reader(copy)
        assert other.files.tokenizer_digest() == own.files.tokenizer_digest()
        identities.append(other.identity())
    assert 5 == len({json.dumps(identity) for identity in identities})


def test_its_control_tokens_are_those_of_its_files(folder: Path) -> None:
    """They are broken up in what it is asked."""
    assert {"<bos>", "<eos>", "<pad>"} <= reader(folder).control_tokens


def test_a_model_without_a_chat_template_is_told_to_be_asked_plainly(folder: Path, tmp_path: Path) -> None:
    """Before anything is asked, and only where something is asked by chat."""
    bare = changed(folder, tmp_path / "bare", "tokenizer_config.json", chat_template=None)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    checked(reader(bare), Request("1", prompt="a", prompt_logprobs=0))
    checked(reader(bare, chat="plain"), *ASKED)
    with pytest.raises(WrongRequest, match="has no chat template: set chat: plain"):
        checked(reader(bare), *ASKED)
    (outcome,) = asked(reader(bare), ASKED[0])
    assert "chat: plain" in (outcome.reason or "")


def test_a_chat_template_that_raises_is_told_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    """With the template's own words."""
    raising = changed(folder, tmp_path / "raising", "tokenizer_config.json", chat_template=None)
    (raising / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")
    with pytest.raises(WrongRequest, match=r"raises an error \(System role not supported\): set chat: plain"):
        checked(reader(raising), *ASKED)


def test_a_vocabulary_without_the_digits_is_refused(folder: Path, tmp_path: Path) -> None:
    """Where a scorer reads their probabilities, and only those that it reads."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] = {
        {"1": "one", "7": "seven"}.get(text, text): number
        for text, number in content["model"]["vocab"].items()
    }
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if not {"1", "7"} & {*pair}]
    lacking = changed(folder, tmp_path / "lacking", "config.json")
    (lacking / "tokenizer.json").write_text(json.dumps(content))
    checked(reader(lacking), *ASKED)
    checked(reader(lacking), replace(ASKED[0], choices=("2", "3"), top_logprobs=5))
    for example, named in (
        (replace(ASKED[0], choices=("0", "1"), top_logprobs=5), "1"),
        (replace(ASKED[0], pattern=r"\[[01]\]", top_logprobs=5), "1"),
        (Request("1", prompt="a", prompt_logprobs=20), "1, 7"),
    ):
        with pytest.raises(WrongRequest, match=f"no token for {named}, whose"):
            checked(reader(lacking), example)


def test_a_model_without_an_end_token_is_refused_for_held_replies(folder: Path, tmp_path: Path) -> None:
    """They end with it; a base model that only continues, or gives log-probabilities, needs none."""
    endless = changed(folder, tmp_path / "endless", "tokenizer_config.json", eos_token=None)
    for file in ("config.json", "generation_config.json"):
        content = json.loads((endless / file).read_text())
        (endless / file).write_text(json.dumps(content | {"eos_token_id": None}))
    checked(reader(endless), *ASKED, Request("1", prompt="a", max_tokens=1, prompt_logprobs=0))
    with pytest.raises(WrongRequest, match=r"names no token that ends a reply.*set eos_token"):
        checked(reader(endless), replace(ASKED[0], choices=("0", "1")))


def test_too_little_memory_is_told_before_anything_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the weights, and for keys and values beside them."""
    with pytest.raises(WrongRequest, match="set a lower cache_gb"):
        checked(reader(folder, cache_gb=1e6))
    with pytest.raises(WrongRequest, match="set a higher cache_gb"):
        checked(reader(folder, cache_gb=1e-6))
    with monkeypatch.context() as patched:
        patched.setattr(load, "available_memory", lambda: 100_000)
        with pytest.raises(WrongRequest, match="name a smaller model or dtype"):
            checked(reader(folder, cache_gb=None))


def test_a_model_larger_than_memory_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its weights are read."""
    gc.collect()
    monkeypatch.setattr("tasks.model_files.load.available_memory", lambda: 1000)
    with pytest.raises(WrongRequest, match=r"takes 0\.0 GB of memory in float32"):
        checked(reader(folder))


def test_a_model_with_recurrent_layers_is_refused(tmp_path: Path) -> None:
    """Prompts cannot share their beginnings' states."""
    from transformers import MambaConfig, MambaForCausalLM  # noqa: PLC0415

    shape: Any = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    MambaForCausalLM(MambaConfig(vocab_size=len(tokenizer()), **shape)).save_pretrained(tmp_path / "mamba")
    tokenizer().save_pretrained(tmp_path / "mamba")
    with pytest.raises(WrongRequest, match=r"layers of the kind linear_attention, .* vLLM"):
        checked(reader(tmp_path / "mamba"))


@pytest.mark.parametrize("kind", ["opt", "bert"])
def test_a_model_that_is_run_otherwise_is_refused(tmp_path: Path, kind: str) -> None:
    """Before anything is asked, with what to do."""
    from transformers import BertConfig, BertLMHeadModel, OPTConfig, OPTForCausalLM  # noqa: PLC0415

    shape: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"vocab_size": len(tokenizer())}
    if kind == "opt":
        made: Any = OPTForCausalLM(OPTConfig(**shape, ffn_dim=32, word_embed_proj_dim=32))
    else:
        made = BertLMHeadModel(BertConfig(**shape, intermediate_size=32))
    made.save_pretrained(tmp_path / kind)
    tokenizer().save_pretrained(tmp_path / kind)
    with pytest.raises(WrongRequest, match="serve it with vLLM"):
        checked(reader(tmp_path / kind))


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """When its files are looked for."""
    with pytest.raises(WrongRequest, match="there is no folder"):
        reader(tmp_path / "nowhere").identity()


def test_it_writes_text_and_makes_no_vectors(folder: Path) -> None:
    """Which a config is told before anything is asked."""
    assert "no vectors" in (reader(folder).refuses(Request("1", texts=("a",))) or "")
    assert reader(folder).refuses(ASKED[0]) is None


def test_other_dtypes_answer_too(folder: Path) -> None:
    """In half precision, log-probabilities are floats of 32 bits all the same."""
    for dtype in ("bfloat16", "float16"):
        (outcome,) = asked(reader(folder, dtype=dtype), replace(ASKED[0], top_logprobs=2))
        assert outcome.reply, outcome.reason
        assert getattr(torch, dtype) != torch.float32
        assert all((token.logprob or 0) <= 0 for token in outcome.reply.completion)
