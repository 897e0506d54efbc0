"""Tokens that questions take: as the reader reports them, or counted as `gloss estimate` counts them."""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from flows.config import RunConfig
from flows.estimate.features import COUNTED
from flows.estimate.requests import spread
from flows.estimate.tokenizers import reader_tokenizer
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.readers import AnyReader
from tasks.llm.request import Outcome
from tasks.llm.token_count import BLOCK, Bill, DryRunReader, PrefixCache, Tokenizer
from tasks.scorers.base import JudgedExplanation
from tasks.scorers.detection import Detection

_READER = "reader"
"""What the reader is called where its tokenizer is looked for."""
_FOLDERS = re.compile(r"(\S+/)+")
"""What stands before a model's own name, and is no one's business."""


class Counter(NamedTuple):
    """How tokens are counted that a reader does not report."""

    tokenizer: Tokenizer
    block: int | None
    """Tokens per block of the prefix cache."""
    source: str
    """The tokenizer that counts, as a clause."""


def reported(outcomes: Sequence[Outcome]) -> Bill | None:
    """The sums of what a reader reports; null where it leaves one of the numbers out of a reply."""
    usages = [outcome.reply.usage for outcome in outcomes if outcome.reply]
    counts = [count for usage in usages for count in usage]
    if None in counts:
        return None
    return Bill(
        sent(outcomes), *(float(sum(count or 0 for count in kind)) for kind in zip(*usages, strict=True))
    )


def sent(outcomes: Sequence[Outcome]) -> int:
    """Questions that a reader got; the same one is asked once."""
    return sum(outcome.attempts > 0 for outcome in outcomes)


def counter(config: RunConfig, reader: AnyReader) -> Counter:
    """By the tokenizer of the reader's model where it is here, else by the subject's.

    Raises `WrongRequest` for one that the reader names and that is not there.
    """
    if isinstance(reader, OpenAIReader):
        counting = reader_tokenizer(config.model_copy(update={"readers": {_READER: reader}}), _READER)
        assert counting.tokenizer is not None
        description = counting.source.removeprefix(f"tokens of {_READER}: ").split("; ")[0]
        return Counter(counting.tokenizer, reader.block, _FOLDERS.sub("", description))
    tokenizer = config.subject.tokenizer()
    # It would warn of longer texts.
    tokenizer.model_max_length = sys.maxsize
    return Counter(tokenizer, BLOCK, "counted by the subject's tokenizer, since the reader has none")


def modelled(scorer: Detection, posed: Sequence[JudgedExplanation], by: Counter) -> Bill:
    """What questions about so many explanations take, by those about the first few of them."""
    rehearsal = DryRunReader(by.tokenizer, PrefixCache(by.block))
    for explanation in posed[:COUNTED]:
        asyncio.run(
            ask_all(rehearsal, scorer.requests(explanation.key, explanation.text, explanation.feature))
        )
    return spread([rehearsal.bills[explanation.key] for explanation in posed[:COUNTED]], len(posed))
