"""The base of scorers that ask by chat: its options, its requests, and the forms that replies are held to.

The system prompt and the few-shot turns are byte-identical for all features, so that a server's prefix cache holds
them; only the last turn depends on the feature. Few-shot turns are rendered by the same code as live ones.

A form allows every right reply and possibly wrong ones: with it a reply can be read, and need not be right. From a
server that cannot hold replies to a form, the reply is read as it comes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.context import context as written_context
from tasks.llm import prompt
from tasks.llm.chat_layout import ChatLayout
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers import logprobs
from tasks.scorers.ask import Adaptive
from tasks.scorers.base import ScorerOptions


class Form(NamedTuple):
    """What a reply looks like: all that it may be, or a regular expression that the whole of it matches."""

    choices: tuple[str, ...] = ()
    pattern: str | None = None


@cache
def one_of(numbers: Sequence[int]) -> Form:
    """One of these numbers and nothing else."""
    return Form(choices=tuple(map(str, numbers)))


@cache
def list_of(numbers: Sequence[int], least: int, most: int) -> Form:
    """A list of so many of these numbers, as JSON writes it."""
    # No schema: between the signs of JSON there may be blanks, and a weak model fills its reply with them.
    # That no number comes twice cannot be said of so many.
    number = f"({'|'.join(map(str, numbers))})"
    fewest = max(least, 1) - 1
    often = f"{{{fewest}}}" if most - 1 == fewest else f"{{{fewest},{most - 1}}}"
    numbers_pattern = number if most == 1 else f"{number}(, {number}){often}"
    return Form(pattern=rf"\[{numbers_pattern}\]" if least else rf"\[({numbers_pattern})?\]")


class ChatScorer(ChatLayout, ScorerOptions, frozen=True):
    """Options that all scorers that ask by chat have."""

    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; the paper's is 0.7."""
    max_tokens: int = Field(default=100, ge=1)
    """Longest reply, in tokens."""
    adaptive: Adaptive | None = None
    """When to stop asking about a feature; null asks all questions."""
    held: bool | None = None
    """Whether replies are held to their form where the server can do that; set false for a reader that thinks aloud
    first. Null holds them unless `prompt` names another one, which may ask for thoughts. Log-probabilities are then
    shares among what the form allows, in which those of the labels are to each other as they are without it."""

    @model_validator(mode="after")
    def _adapts_to_verdicts(self) -> Self:
        if self.adaptive is not None and not self.gives_verdicts:
            msg = f"adaptive counts right verdicts, and {self.kind} gives numbers; leave adaptive out"
            raise ValueError(msg)
        return self

    @property
    def wants_logprobs(self) -> bool:
        """Whether the log-probabilities of alternatives at each token of a reply are requested."""
        return False

    @property
    def holds(self) -> bool:
        """Whether replies are to be held to their form."""
        return self.prompt is None if self.held is None else self.held

    def instructions(self, file: str | None = None) -> str:
        """The system prompt: the file that `prompt` names, else `file`, `<kind>.prompt.txt` if that is null.

        Raises `WrongRequest` where the file that `prompt` names cannot be read or is empty.
        """
        return prompt.read_prompt("tasks.scorers", file or f"{self.kind}.prompt.txt", self.prompt)

    def request(
        self,
        key: RequestKey | str,
        question: str,
        about: Sequence[tuple[int, bool]],
        *,
        form: Form,
        system: str | None = None,
        few_shots: Sequence[Message] = (),
        right: int | None = None,
        together: str | None = None,
    ) -> Request:
        """A question about contexts, each given with its right verdict, and the form of its reply."""
        held = form if self.holds else Form()
        return Request(
            key=str(key),
            messages=self.turns(self.instructions() if system is None else system, few_shots, question),
            contexts=tuple(context for context, _ in about),
            truths=tuple(truth for _, truth in about),
            right=right,
            together=together,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            top_logprobs=logprobs.ALTERNATIVES if self.wants_logprobs else None,
            choices=held.choices,
            pattern=held.pattern,
        )

    def request_per_context(
        self, key: RequestKey, explanation: str, feature: Feature, form: Form
    ) -> list[Request]:
        """A question about each context that is shown, by itself and unmarked."""
        contexts = self.shown_contexts(feature.contexts)
        return [
            self.request(
                key.with_question(number),
                render.write([render.text(context.strings)], explanation),
                [(context.context, context.activating)],
                form=form,
            )
            for number, context in enumerate(contexts)
        ]


def rendered_shots(
    name: str, show: Callable[[Context, list[int]], str]
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The few-shot turns of a file, each with its contexts as they are shown.

    `show` renders a hand-made context; the list it is given are the places that the file marks with `*`.
    """
    for shot in prompt.read_shots("tasks.scorers", name):
        yield shot, [show(*_written(line)) for line in shot["contexts"]]


def _written(line: str) -> tuple[Context, list[int]]:
    starred = [place for place, piece in enumerate(line.split("|")) if piece.endswith("*")]
    plain = "|".join(piece.removesuffix("*") for piece in line.split("|"))
    return written_context(plain), starred
