"""How readers see contexts and questions: rendered texts and marks, and how a rendered text is read back.

A context has `<<marked>>` tokens on one line, and its activations as integers 0 to 10. A question is the last turn of a
judge's prompt: a description, numbered examples, and what is to be named; where nothing is to be named, the answer is 0
or 1 for each example. Only this module decides these forms, for live turns and few-shot ones alike, and only this one
reads them back (the baseline reader sees only rendered text).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from tasks.contexts.context import Context
from tasks.contexts.special_tokens import NOTE, SIGN

OPEN, CLOSE = "<<", ">>"
NEWLINE = "⏎"
"""Stands for a line break, so that every context is one line."""

MARKED = 0.3
"""Tokens above this share of their context's peak are marked (paper, appendix B)."""

_PLAIN = str.maketrans({"\n": NEWLINE, "\r": "", "\t": " ", "\x02": "", "\x03": ""})
_START, _END = "\x02", "\x03"
_CONFUSING = {
    "<": re.compile(r"<{2,}|(?<=[\x02\x03])<|<(?=[\x02\x03])"),
    ">": re.compile(r">{2,}|(?<=[\x02\x03])>|>(?=[\x02\x03])"),
}
_LOOKALIKE = {"<": "‹", ">": "›"}
_SPAN = re.compile(r"<<(.*?)>>")


def plain(string: str) -> str:
    """Text on one line."""
    return string.translate(_PLAIN)


def strongest(context: Context, share: float = MARKED) -> tuple[int, ...]:
    """Positions of the tokens above `share` of the context's peak; none in a silent one."""
    bar = share * context.peak
    return tuple(i for i, activation in enumerate(context.activations) if activation > max(bar, 0.0))


def text(strings: Sequence[str], marked: Iterable[int] = ()) -> str:
    """One line of text; neighbouring marked tokens share one pair of markers.

    Angle brackets of the text itself that could be taken for markers become look-alikes.
    """
    chosen = set(marked)
    # Without marks all at once: most contexts have none, and a token at a time takes ten times as long.
    line = "".join(_pieces(strings, chosen)) if chosen else plain("".join(strings))
    for bracket, confusing in _CONFUSING.items():
        if bracket in line:
            line = confusing.sub(lambda match, b=bracket: _LOOKALIKE[b] * len(match[0]), line)
    return line.replace(_START, OPEN).replace(_END, CLOSE)


def _pieces(strings: Sequence[str], chosen: set[int]) -> Iterator[str]:
    for i, string in enumerate(strings):
        before = _START if i in chosen and i - 1 not in chosen else ""
        after = _END if i in chosen and i + 1 not in chosen else ""
        yield f"{before}{plain(string)}{after}"


def importance(context: Context, scale: float) -> list[tuple[str, int]]:
    """The tokens that round down to at least 1 in tenths of the feature's largest activation, with that integer."""
    if scale <= 0:
        return []
    tenths = [int(10 * min(activation / scale, 1.0)) for activation in context.activations]
    return [
        (plain(string), tenth) for string, tenth in zip(context.strings, tenths, strict=True) if tenth >= 1
    ]


def explained(number: int, context: Context, scale: float) -> str:
    """A context as the explainer sees it: the marked text and the tokens' activations below it."""
    listed = ", ".join(f'("{token}", {tenth})' for token, tenth in importance(context, scale))
    line = f"Example {number}: {text(context.strings, strongest(context))}"
    return f"{line}\nActivations: {listed}" if listed else line


def counterexample(number: int, context: Context) -> str:
    """A context in which the feature is silent, as the explainer sees it."""
    return f"Counterexample {number}: {text(context.strings)}"


def quoted(tokens: Iterable[str]) -> str:
    """Tokens as a prompt lists them, in their order."""
    return ", ".join(f'"{plain(token)}"' for token in tokens)


def numbered(texts: Sequence[str]) -> str:
    """Contexts as a judge sees them, one per line, numbered from 1."""
    return "\n".join(f"Example {number}: {line}" for number, line in enumerate(texts, start=1))


class Shown(NamedTuple):
    """A rendered example, read back."""

    text: str
    """Without markers."""
    spans: tuple[tuple[str, int], ...]
    """The marked spans and where each begins in `text`."""
    activations: tuple[tuple[str, int], ...]
    """Tokens and integers of its activations line."""


_EXAMPLE = re.compile(r"^Example \d+: (.*)$(?:\nActivations: (.*)$)?", re.MULTILINE)
_PAIR = re.compile(r'\("(.*?)", (\d+)\)(?=, \("|$)')
_OTHER = re.compile(
    rf"^(?!Example \d+: |Activations: |Counterexample \d+: |{re.escape(NOTE)}$|$)", re.MULTILINE
)


def examples_only(rendered: str) -> bool:
    """Whether a text consists of rendered examples, and at most the explanation of the sign for special tokens."""
    return not _OTHER.search(rendered)


def read(rendered: str) -> list[Shown]:
    """The examples of a rendered prompt."""
    return [_shown(line, pairs or "") for line, pairs in _EXAMPLE.findall(rendered)]


def _shown(line: str, pairs: str) -> Shown:
    spans, text, end = [], "", 0
    for span in _SPAN.finditer(line):
        text += line[end : span.start()]
        spans.append((span[1], len(text)))
        text += span[1]
        end = span.end()
    activations = tuple((token, int(tenth)) for token, tenth in _PAIR.findall(pairs))
    return Shown(text + line[end:], tuple(spans), activations)


DESCRIPTION = "Description: "

Named = Literal["fitting", "described", "intruder"]
"""What is to be named: all examples that fit, the only one that fits, or the one that has nothing in common with the
others."""

ASKED: dict[Named, str] = {
    "fitting": "Which of these examples fit the description?",
    "described": "Which one of these examples fits the description?",
    "intruder": "Which one of these examples does not belong with the others?",
}
"""The last line of a question, by what the reader is to name."""


class Question(NamedTuple):
    """A rendered question, read back."""

    description: str | None
    """Null where none is given."""
    named: Named | None
    """Null where 0 or 1 is wanted for each example."""
    examples: list[Shown]


def write(texts: Sequence[str], description: str | None, named: Named | None = None) -> str:
    """A question about rendered contexts; it explains the sign for special tokens where one has it."""
    parts = [numbered(texts)]
    if any(SIGN in text for text in (*texts, description or "")):
        parts.insert(0, NOTE)
    if description is not None:
        parts.insert(0, f"{DESCRIPTION}{description}")
    if named is not None:
        parts.append(ASKED[named])
    return "\n\n".join(parts)


def about(question: str, examples: int, chosen: slice) -> str:
    """The same question with a description about some of its examples, with 0 or 1 wanted for each."""
    # From the end, where each example is one line: a description may have any.
    head, *lines = question.rsplit("\n", examples)
    return f"{head}\n{numbered([line.partition(': ')[2] for line in lines[chosen]])}"


def read_question(text: str) -> Question | None:
    """The question of a rendered prompt; None where it is not a judging question."""
    description = text.removeprefix(DESCRIPTION).split("\n", 1)[0] if text.startswith(DESCRIPTION) else None
    last = text.rsplit("\n", 1)[-1]
    named: Named | None = next((named for named, line in ASKED.items() if line == last), None)
    examples = read(text)
    if not examples or (description is None and named is None):
        return None
    return Question(description, named, examples)
