"""The reader of kind `transformers`: a causal language model in this process, run by transformers.

torch is imported when it is opened: reading a config must not cost it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from tasks.llm.in_process.config import TransformersConfig

if TYPE_CHECKING:
    from tasks.llm.in_process.batching import InProcess
    from tasks.llm.request import Request


class TransformersReader(TransformersConfig, frozen=True):
    """A causal language model in this process, run by transformers on a CPU or a GPU ([docs](readers.md))."""

    def open(self) -> "AbstractAsyncContextManager[InProcess]":
        """The reader; its model is loaded unless another reader has it open.

        Raises `WrongRequest` for a model that cannot be loaded, does not fit into memory, or cannot be a reader.
        """
        from tasks.llm.in_process.batching import opened  # noqa: PLC0415

        return opened(self)

    async def check(self, examples: Sequence["Request"] = ()) -> None:
        """Load the model, and see that its tokenizer takes the examples. Raises `WrongRequest` as `open` does."""
        from tasks.llm.in_process.load import engine, refuse_unanswerable  # noqa: PLC0415

        await asyncio.to_thread(lambda: refuse_unanswerable(engine(self), self, examples))
