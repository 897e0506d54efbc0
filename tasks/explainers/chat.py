"""The base of explainers that ask a reader: one chat per explanation, whose answer follows a tag.

The system prompt and the few-shot turns are byte-identical for all features, so that a server's prefix cache holds
them; the feature comes last. Few-shot turns are rendered by the same code as live ones.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.context import context as written_context
from tasks.contexts.visible import noted
from tasks.explainers import reply_text
from tasks.explainers.base import ExplainerInputs, ExplainerOptions
from tasks.explainers.reply_text import TAG, tagged
from tasks.fields import LARGEST_SEED, ConfigModel, Seed, added_key
from tasks.llm import prompt
from tasks.llm.chat_layout import ChatLayout
from tasks.llm.reasoning import answer
from tasks.llm.request import QUOTE_LENGTH, Message, Reply, Request, RequestKey, Unreadable, quote_reply

_LABELLED = re.compile(r"[A-Z]+:")
"""A line of an answer that is its explanation, or a note on a single question."""


class BestOf(ConfigModel, frozen=True):
    """How the best of several replicates is found: by detection on contexts that the explainer is not shown.

    They are explain-contexts; those of the scorers have no part in it.
    """

    held_out: int = Field(default=10, ge=1)
    """Activating explain-contexts that are kept from the explainer, and as many non-activating ones; at most half of
    what a feature has."""
    reader: str | None = None
    """Which of `readers` judges; the explainer's own if null."""
    shown: int = Field(default=5, ge=1)
    """Contexts per question."""


class ChatExplainer(ChatLayout, ExplainerOptions, frozen=True):
    """Options and common code of all explainers that ask a reader."""

    shots_file: ClassVar[str]
    """The file of its few-shot turns."""

    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; the paper's is 0.7."""
    max_tokens: int = Field(default=500, ge=1)
    """Longest reply, in tokens."""
    seed: Seed = 22
    """Sampling seed that is sent to the server, plus the number of the replicate; the run's where none is given."""
    prompt: str | None = None
    """A file with another system prompt."""
    shots: Literal["all", "none"] = "all"
    """Few-shot turns, questions about other features with their answers, that are sent before the question. `none` is
    for readers that repeat their answers: an explanation that repeats one fails."""
    order: Literal["strongest", "weakest", "shuffled"] = added_key("strongest")
    """Order of the activating contexts: from the strongest decile to the weakest, or back, so that the strongest are
    nearest to the answer; or at random, by the seed, each replicate in an order of its own."""
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """Texts at which the server ends a reply. What a reader invents after its explanation is no part of it in any case:
    `["\\n\\nExample "]` saves the tokens that a small model spends on further examples. Not for
    readers that think aloud, whose thoughts may have them."""
    replicates: int = Field(default=1, ge=1)
    """Explanations per feature, drawn one by one; several need a temperature above 0."""
    best_of: BestOf | None = None
    """How one of the replicates is chosen to be scored; if null, all are scored."""

    @model_validator(mode="after")
    def _replicates_differ(self) -> Self:
        if self.replicates > 1 and self.temperature == 0:
            msg = (
                f"replicates {self.replicates} would all be alike at temperature 0; "
                "set a temperature such as 0.7, or replicates to 1"
            )
            raise ValueError(msg)
        if self.seed + self.replicates - 1 > LARGEST_SEED:
            msg = f"seed {self.seed} plus {self.replicates} replicates goes beyond {LARGEST_SEED}; lower it"
            raise ValueError(msg)
        if self.replicates == 1 and self.best_of is not None:
            msg = "best_of chooses among replicates, and there is 1; set replicates to 2 or more, or leave it out"
            raise ValueError(msg)
        return self

    @property
    def asking(self) -> "ChatExplainer":
        """This explainer."""
        return self

    @property
    def readers(self) -> Mapping[str, str]:
        """Its reader, and the one that chooses among replicates."""
        chooser = self.best_of.reader if self.best_of else None
        return {"reader": self.reader} | ({"best_of.reader": chooser} if chooser else {})

    @property
    def chooser(self) -> str:
        """The reader that chooses among replicates."""
        return self.best_of.reader or self.reader if self.best_of else self.reader

    def unmet_need(self, given: ExplainerInputs) -> str | None:
        """Number of contexts to hold out: at most half of those that the explainer would see otherwise."""
        if self.best_of is None:
            return None
        held_out = self.best_of.held_out
        if 2 * held_out > given.explain:
            return (
                f"best_of.held_out {held_out} is more than half of sample.explain {given.explain}; "
                f"set sample.explain to {2 * held_out}, or hold out fewer"
            )
        contrast = held_out * (2 if self.needs_contrast else 1)
        if contrast > given.contrast:
            return (
                f"best_of needs {contrast} non-activating contexts for the explainer, and sample.contrast gives "
                f"{given.contrast}; set sample.contrast to [{{kind: random, n: {contrast}}}]"
            )
        return None

    def identity(self) -> dict[str, object]:
        """Its options and its prompts."""
        prompts = {"prompts": prompt.digest("tasks.explainers", self.kind, self.prompt, self.shots_file)}
        judged = {"judged_by": prompt.digest("tasks.scorers", "detection")} if self.best_of else {}
        return super().identity() | prompts | judged

    def replicate(self, number: int) -> Self:
        """The explainer that asks for one of the replicates."""
        return self.model_copy(update={"seed": self.seed + number})

    def requests(self, key: RequestKey, feature: Feature) -> list[Request]:
        """One request: the prompt, the few-shot turns, the feature."""
        system = prompt.read_prompt("tasks.explainers", f"{self.kind}.prompt.txt", self.prompt)
        feature = self.ordered(feature)
        question = noted(self.question(feature))
        return [
            Request(
                key=str(key),
                messages=self.turns(system, self._few_shots(), question),
                contexts=tuple(context.context for context in self.shown(feature)),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=self.seed,
                stop=self.stop,
                schema=self.form,
            )
        ]

    def ordered(self, feature: Feature) -> Feature:
        """The feature with its activating contexts in the order in which they are shown; silent ones keep theirs."""
        if self.order == "strongest":
            return feature
        active = list(reversed(activating(feature)))
        if self.order == "shuffled":
            random.Random(f"{self.seed}/{self.kind}/{feature.feature}").shuffle(active)  # noqa: S311  (no secret)
        return replace(feature, contexts=(*active, *silent(feature)))

    @property
    def form(self) -> str | None:
        """JSON schema that replies are held to where the server can do that; null where they are prose."""
        return None

    def shown(self, feature: Feature) -> tuple[Context, ...]:
        """The contexts that the question about a feature shows, in its order: all activating ones."""
        return activating(feature)

    def question(self, feature: Feature) -> str:
        """The last turn, the only one that depends on the feature."""
        raise NotImplementedError

    def read(self, request: Request, reply: Reply) -> str:
        """The explanation in a reply. Raises `Unreadable` without one, and where it repeats a few-shot answer."""
        text = self.written(request, reply)
        example = reply_text.repeated(text, self.example_phrases) if self.shots == "all" else None
        if example is not None:
            msg = (
                f"it repeats the example answer {example!r} of the prompt in the reply to {request.key}; "
                "a reader that does so often may do better with shots: none"
            )
            raise Unreadable(msg)
        return text

    def written(self, request: Request, reply: Reply) -> str:
        """The text after the tag. Raises `Unreadable` when there is none, or a part of one."""
        explained = tagged(answer(reply, request.key))
        if explained is None:
            msg = f"no line {TAG} in the reply to {request.key} ({quote_reply(reply)})"
            raise Unreadable(msg)
        if reply.finish_reason == "length" and not explained.whole:
            msg = (
                f"the reply to {request.key} was cut off at max_tokens, in the middle of its explanation "
                f"{explained.text[-QUOTE_LENGTH:]!r}; raise it"
            )
            raise Unreadable(msg)
        return explained.text

    @property
    def examples(self) -> Sequence[str]:
        """The explanations in the few-shot answers of its file, whether they are sent or not."""
        return [self.written(request, Reply(text)) for request, text in self._answered()]

    @property
    def example_phrases(self) -> Sequence[str]:
        """What an explanation must not repeat: those explanations, and what the answers say before them."""
        lines = [line for _, text in self._answered() for line in text.split("\n")]
        return [*self.examples, *(line for line in lines if not _LABELLED.match(line))]

    def structure(self, request: Request, reply: Reply) -> str | None:  # noqa: ARG002  (others read it)
        """None: it asks for plain words."""
        return None

    def _few_shots(self) -> list[Message]:
        turns: list[Message] = []
        for shot in prompt.read_shots("tasks.explainers", self.shots_file):
            turns += [Message("user", self.question(toy(shot))), Message("assistant", shot["answer"].strip())]
        return turns

    def _answered(self) -> list[tuple[Request, str]]:
        """The few-shot answers, with a request that each may be the reply to."""
        shots = prompt.read_shots("tasks.explainers", self.shots_file)
        asked = Request(str(RequestKey(0, "example")), messages=(Message("user", "example"),))
        return [(asked, shot["answer"].strip()) for shot in shots]


def activating(feature: Feature) -> tuple[Context, ...]:
    """The feature's activating contexts."""
    return tuple(context for context in feature.contexts if context.activating)


def silent(feature: Feature) -> tuple[Context, ...]:
    """The feature's non-activating contexts."""
    return tuple(context for context in feature.contexts if not context.activating)


def toy(shot: Mapping[str, Any]) -> Feature:
    """A feature written by hand: its contexts, and the tokens that it raises and lowers where the shot names some."""
    contexts: Sequence[str] = (*shot["contexts"], *shot.get("silent", ()))
    return Feature(
        feature=0,
        max=10.0,
        contexts=tuple(written_context(written, number) for number, written in enumerate(contexts)),
        described=Described(
            single_token=shot.get("single_token"),
            top_tokens=tuple(shot.get("top_tokens", ())),
            top_logits=tuple(shot.get("raised", ())),
            bottom_logits=tuple(shot.get("lowered", ())),
        ),
    )
