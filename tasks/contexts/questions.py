"""The last turn of what a judge is asked: a description, numbered examples, and what is to be named.

The one place that decides its form, for live turns and few-shot ones alike, and the one that reads it back. Where
nothing is to be named, the answer is 0 or 1 for each example.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tasks.contexts import render
from tasks.contexts.special_tokens import NOTE, SIGN

DESCRIPTION = "Description: "

Named = Literal["fitting", "described", "intruder"]
"""What is to be named: all examples that fit, the only one that fits, or the one that has nothing in common with the
others."""

ASKED: dict[Named, str] = {
    "fitting": "Which of these examples fit the description?",
    "described": "Which one of these examples fits the description?",
    "intruder": "Which one of these examples does not belong with the others?",
}
"""How it is asked for, in the last line."""


class Question(NamedTuple):
    """A rendered question, read back."""

    description: str | None
    """Null where none is given."""
    named: Named | None
    """Null where 0 or 1 is wanted for each example."""
    examples: list[render.Shown]


def write(texts: Sequence[str], description: str | None, named: Named | None = None) -> str:
    """A question about some rendered contexts; one with the sign for special tokens says what it stands for."""
    parts = [render.numbered(texts)]
    if any(SIGN in text for text in (*texts, description or "")):
        parts.insert(0, NOTE)
    if description is not None:
        parts.insert(0, f"{DESCRIPTION}{description}")
    if named is not None:
        parts.append(ASKED[named])
    return "\n\n".join(parts)


def about(question: str, examples: int, some: slice) -> str:
    """A question with a description and so many examples, 0 or 1 wanted for each, put about some of them."""
    # From the end, where each example is one line: a description may have any.
    head, *lines = question.rsplit("\n", examples)
    return f"{head}\n{render.numbered([line.partition(': ')[2] for line in lines[some]])}"


def read(text: str) -> Question | None:
    """What is asked; null where it is no judge's question."""
    description = text.removeprefix(DESCRIPTION).split("\n", 1)[0] if text.startswith(DESCRIPTION) else None
    last = text.rsplit("\n", 1)[-1]
    named: Named | None = next((named for named, line in ASKED.items() if line == last), None)
    examples = render.read(text)
    if not examples or (description is None and named is None):
        return None
    return Question(description, named, examples)
