"""An OpenAI-compatible server on a real socket that serves a small model with transformers, and answers as vLLM does.

`with model_server(folder) as server:` serves chat, plain completions (lists of prompts, log-probabilities of reply and
prompt) and embeddings at `server.url`, greedily and in float32. What real servers refuse, it refuses as well.
"""

import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.flows.command import TOY

NAME = "tiny"
"""What the server calls the model."""
MOST = 20
"""Alternatives that it gives at a token, as vLLM does unless told otherwise."""
BROKEN = "�"
"""What a tokenizer says of bytes that are no whole character."""

Body = dict[str, Any]


class RefusedError(ValueError):
    """A request that the server answers with 400."""


class Token(NamedTuple):
    """A token that stands somewhere, or could."""

    id: int
    text: str
    logprob: float
    rank: int
    """1 for the likeliest."""


@dataclass
class Model:
    """A model with its tokenizer, and how a server speaks of its tokens."""

    folder: Path
    bodies: list[Body] = field(default_factory=list)
    """What was asked, in the order in which it came."""

    def __post_init__(self) -> None:
        """Load it."""
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder)
        self.alone: list[str] = [self.tokenizer.decode(token) for token in range(len(self.tokenizer))]
        self.run = lru_cache(maxsize=4)(self._run)  # a prompt is run for its own tokens and for what follows
        self.network: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()

    def ids(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.tokenizer(text, verbose=False).input_ids

    @torch.inference_mode()
    def _run(self, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of what follows each token (tokens, vocabulary), and the last layer's output."""
        out = self.network(torch.tensor([ids]), output_hidden_states=True)
        return torch.log_softmax(out.logits[0].float(), -1), out.hidden_states[-1][0].float()

    def text(self, before: Sequence[int], token: int) -> str:
        """A token's text as vLLM gives it: the token that ends a character has all of it, the others have nothing."""
        if not self.alone[token].endswith(BROKEN):
            return self.alone[token]
        for start in range(len(before) - 1, max(len(before) - 5, -1), -1):
            whole = self.tokenizer.decode([*before[start:], token])
            if not whole.endswith(BROKEN):
                return whole.removeprefix(self.tokenizer.decode(before[start:]).rstrip(BROKEN))
        return ""

    def greedily(self, ids: Sequence[int], most: int) -> list[int]:
        """The likeliest continuation, until the end of the text or that of `most` tokens."""
        reply: list[int] = []
        while len(reply) < most and self.tokenizer.eos_token_id not in reply:
            reply.append(int(self.run((*ids, *reply))[0][-1].argmax()))
        return reply

    def likeliest(self, before: Sequence[int], logprobs: Tensor, own: int, count: int) -> list[Token]:
        """A token that follows others, then the likeliest ones in its place."""
        best = dict(enumerate(logprobs.topk(count).indices.tolist(), start=1)) if count else {}
        rank = int((logprobs > logprobs[own]).sum()) + 1
        ranked = {own: rank} | {token: place for place, token in best.items() if token != own}
        return [
            Token(token, self.text(before, token), float(logprobs[token]), place)
            for token, place in ranked.items()
        ]


class Served:
    """The running server."""

    def __init__(self, model: Model) -> None:
        self.model = model
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
        ]
        handlers = {RefusedError: _refuse}
        config = uvicorn.Config(
            Starlette(routes=routes, exception_handlers=handlers),  # type: ignore[arg-type]
            port=0,
            log_level="critical",
            lifespan="off",
            ws="none",
            loop="asyncio",
        )
        self.server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/v1"

    async def _models(self, _request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": NAME, "object": "model"}]})

    async def _completions(self, request: Request) -> JSONResponse:
        body = await self._body(request)
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        choices, used = [], []
        for index, prompt in enumerate(prompts):
            asked = self.model.ids(prompt)
            reply = self._reply(body, asked)
            used.append((len(asked), len(reply)))
            choices.append(
                {
                    "index": index,
                    "text": self.model.tokenizer.decode(reply, skip_special_tokens=True),
                    "finish_reason": self._reason(reply),
                    "logprobs": self._completion_logprobs(body, asked, reply),
                    "prompt_logprobs": self._prompt_logprobs(body, asked),
                }
            )
        return JSONResponse({"model": NAME, "choices": choices, "usage": _usage(used)})

    async def _chat(self, request: Request) -> JSONResponse:
        body = await self._body(request)
        turns = [f"{turn['role']}: {turn['content']}\n" for turn in body["messages"]]
        asked = self.model.ids("".join([*turns, "assistant:"]))
        reply = self._reply(body, asked)
        content = [
            {
                "token": own.text,
                "logprob": own.logprob,
                "bytes": None,
                "top_logprobs": [_plain(alternative) for alternative in top],
            }
            for own, top in self._alternatives(asked, reply, body.get("top_logprobs") or 0)
        ]
        choice = {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": self.model.tokenizer.decode(reply, skip_special_tokens=True),
            },
            "finish_reason": self._reason(reply),
            "logprobs": {"content": content} if body.get("logprobs") else None,
        }
        used = [(len(asked), len(reply))]
        return JSONResponse({"model": NAME, "choices": [choice], "usage": _usage(used)})

    async def _embeddings(self, request: Request) -> JSONResponse:
        body = await self._body(request)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        tokens = [self.model.ids(text) for text in texts]
        vectors = [self.model.run(tuple(ids))[1].mean(0) for ids in tokens]
        in_bytes = body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": b64encode(vector.numpy().tobytes()).decode() if in_bytes else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        return JSONResponse({"model": NAME, "data": data, "usage": _usage([(len(ids), 0) for ids in tokens])})

    async def _body(self, request: Request) -> Body:
        body: Body = await request.json()
        self.model.bodies.append(body)
        wanted = [body.get(name) for name in ("top_logprobs", "logprobs", "prompt_logprobs")]
        if any(not isinstance(number, bool) and number is not None and number > MOST for number in wanted):
            msg = f"no more than {MOST} log-probabilities"
            raise RefusedError(msg)
        if body.get("temperature"):
            msg = "this server draws nothing: temperature must be 0"
            raise RefusedError(msg)
        return body

    def _reply(self, body: Body, asked: Sequence[int]) -> list[int]:
        if not asked or body.get("max_tokens", 16) < 1:
            msg = "an empty prompt, or max_tokens below 1"
            raise RefusedError(msg)
        return self.model.greedily(asked, body.get("max_tokens", 16))

    def _reason(self, reply: Sequence[int]) -> str:
        return "stop" if self.model.tokenizer.eos_token_id in reply else "length"

    def _alternatives(
        self, asked: Sequence[int], reply: Sequence[int], count: int
    ) -> Iterator[tuple[Token, list[Token]]]:
        """Each generated token, and the likeliest in its place."""
        for place, own in enumerate(reply):
            before = (*asked, *reply[:place])
            alternatives = self.model.likeliest(before, self.model.run(before)[0][-1], own, count)
            yield alternatives[0], [alternative for alternative in alternatives if alternative.rank <= count]

    def _completion_logprobs(self, body: Body, asked: Sequence[int], reply: Sequence[int]) -> Body | None:
        count = body.get("logprobs")
        if count is None:
            return None
        alternatives = list(self._alternatives(asked, reply, count))
        return {
            "text_offset": [0] * len(reply),
            "tokens": [own.text for own, _ in alternatives],
            "token_logprobs": [own.logprob for own, _ in alternatives],
            # Of tokens with equal texts the likeliest stands.
            "top_logprobs": [
                {alternative.text: alternative.logprob for alternative in reversed(top)}
                for _, top in alternatives
            ],
        }

    def _prompt_logprobs(self, body: Body, asked: Sequence[int]) -> list[Body | None] | None:
        count = body.get("prompt_logprobs")
        if count is None:
            return None
        logprobs, _ = self.model.run(tuple(asked))
        positions = [
            self.model.likeliest(asked[max(0, place - 4) : place], logprobs[place - 1], asked[place], count)
            for place in range(1, len(asked))
        ]
        return [
            None,
            *(
                {
                    str(token.id): {"logprob": token.logprob, "rank": token.rank, "decoded_token": token.text}
                    for token in tokens
                }
                for tokens in positions
            ),
        ]


def _plain(token: Token) -> Body:
    return {"token": token.text, "logprob": token.logprob, "bytes": None}


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"message": str(error), "type": "BadRequestError"}}, status_code=400)


def _usage(used: Sequence[tuple[int, int]]) -> Body:
    asked, replied = (sum(counts) for counts in zip(*used, strict=True))
    return {"prompt_tokens": asked, "completion_tokens": replied, "total_tokens": asked + replied}


def numerate(folder: Path) -> Path:
    """A folder with a small random model and the toy's tokenizer that finds numbers likelier than other tokens.

    The demo's own model has seen next to none, so that it never has one among its likeliest tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(TOY / "subject")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.2,  # or every token would be as likely as any other
        dtype="float32",
    )
    network = LlamaForCausalLM(config)
    others = torch.ones(len(tokenizer), 1)
    others[[tokenizer(str(number)).input_ids[0] for number in range(11)]] = 10.0
    with torch.no_grad():
        network.lm_head.weight *= others / 5
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def model_server(folder: Path) -> Iterator[Served]:
    """Serve the model of a folder for as long as the context lasts."""
    served = Served(Model(folder))
    thread = threading.Thread(target=served.server.run, daemon=True)
    thread.start()
    while not served.server.started:
        if not thread.is_alive():
            msg = "the server did not start"
            raise RuntimeError(msg)
        time.sleep(0.01)
    try:
        yield served
    finally:
        served.server.should_exit = True
        thread.join()
