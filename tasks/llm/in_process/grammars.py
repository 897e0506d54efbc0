"""Replies held to a form by llguidance: which tokens a schema, some choices or a pattern allow next."""

import re
from functools import lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerFast

from tasks.llm.request import Request

_JSON: Any = {"whitespace_flexible": False}
"""Without white space, as the servers of deployments/vllm write it: a weak model would write nothing else."""


class Grammars:
    """The forms that replies of one tokenizer are held to."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, ends: list[int]) -> None:
        """`vocabulary` is the width of the logits, `ends` the tokens that end a reply."""
        self._tokenizer, self.vocabulary, self._ends = tokenizer, vocabulary, ends
        self._words: LLTokenizer | None = None
        self._compiled = lru_cache(maxsize=256)(self._compile)

    def matcher(self, request: Request) -> LLMatcher | None:
        """What holds the reply to a request; None where it is held to nothing. Raises `ValueError` for a bad form."""
        if not request.held:
            return None
        compiled = self._compiled(_grammar(request))
        if compiled.is_error():
            msg = f"the form of the reply cannot be used ({' '.join(compiled.get_error().split())[:200]})"
            raise ValueError(msg)
        return compiled.deep_copy()

    def allowed(self, matcher: LLMatcher) -> np.ndarray:
        """[vocabulary] whether each token may come next."""
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
        return bits[: self.vocabulary].astype(bool)

    def _compile(self, grammar: str) -> LLMatcher:
        if self._words is None:
            self._words = from_tokenizer(self._tokenizer, self.vocabulary, self._ends)
        return LLMatcher(self._words, grammar, log_level=0)


def _grammar(request: Request) -> str:
    if request.schema is not None:
        return LLMatcher.grammar_from_json_schema(request.schema, overrides=_JSON)
    if request.choices:
        return LLMatcher.grammar_from_regex("|".join(map(re.escape, request.choices)))
    return LLMatcher.grammar_from_regex(request.pattern or "")
