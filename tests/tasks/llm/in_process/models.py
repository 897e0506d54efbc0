"""Tiny models of random weights with the toy's tokenizer, and what transformers says with one request at a time."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tasks.llm.in_process.engine import Answer, Engine
from tasks.llm.in_process.grammars import Grammars
from tasks.llm.in_process.network import Network
from tasks.llm.in_process.prompts import Prompts
from tasks.llm.request import Reply, Request
from tests.flows.command import TOY
from tests.vllm.server import CHATML

POSITIONS = 512
"""Tokens that a prompt and its reply may have together."""
_SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "head_dim": 16,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,  # or every token would be as likely as any other
}
_KINDS: Mapping[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "gemma2": Gemma2Config,
    "gpt2": GPT2Config,
}
_OWN: Mapping[str, dict[str, Any]] = {
    # Every other layer sees a window of 24 tokens, and logits are capped.
    "gemma2": {"sliding_window": 24, "final_logit_softcapping": 5.0},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS, "initializer_range": 0.3},
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The demo's, with the chat template ChatML."""
    made = PreTrainedTokenizerFast(
        tokenizer_file=str(TOY / "subject" / "tokenizer.json"),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
    )
    made.chat_template = CHATML
    return made


@cache
def model(kind: str = "llama") -> PreTrainedModel:
    """A model of an architecture."""
    torch.manual_seed(0)
    shape = {} if kind == "gpt2" else _SHAPE
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    keys: dict[str, Any] = {"vocab_size": len(tokenizer()), **shape, **_OWN.get(kind, {}), **special}
    config = _KINDS[kind](**keys)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def engine(kind: str = "llama", slots: int = 1600, batch_tokens: int = 400, chat: Any = "template") -> Engine:
    """An engine with nothing in its cache."""
    network = Network(model(kind), slots)
    grammars = Grammars(tokenizer(), len(tokenizer()), [1])
    return Engine(network, Prompts(tokenizer(), chat, kind), grammars, frozenset({1}), batch_tokens)


def answers(made: Engine, *requests: Request) -> list[Answer]:
    """The answers, in the order of the requests."""
    given: dict[int, Answer] = {}
    made.answer(requests, given.__setitem__)
    return [given[number] for number in range(len(requests))]


def replies(made: Engine, *requests: Request) -> list[Reply]:
    """The replies, in the order of the requests."""
    given = answers(made, *requests)
    assert [None] * len(requests) == [answer.reason for answer in given]
    return [answer.reply for answer in given if answer.reply]


@torch.inference_mode()
def plainly_written(ids: list[int], most: int, kind: str = "llama") -> tuple[list[int], torch.Tensor]:
    """What `generate` writes after a prompt, greedily, and the log-probabilities [tokens, vocabulary] it chose from."""
    given = torch.tensor([ids])
    written: Any = model(kind).generate(  # pyright: ignore[reportCallIssue]  (of a mixin)
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=most,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    logits = torch.cat(list(written.logits))
    return written.sequences[0, len(ids) :].tolist(), logits.log_softmax(-1)


@torch.inference_mode()
def plain_logprobs(ids: list[int], kind: str = "llama") -> torch.Tensor:
    """[n, vocabulary] log-probabilities of the token after each token of a text."""
    return model(kind)(torch.tensor([ids])).logits[0].log_softmax(-1)
