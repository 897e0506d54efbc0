"""How readers see contexts and questions: rendered texts and marks, and how a rendered text is read back.

A context has `<<marked>>` tokens on one line, and its activations as integers 0 to 10. A question is the last turn of a
judge's prompt: a description, numbered examples, and a line that says what is to be named. Only this module decides
these forms, for live turns and few-shot ones alike, and only this one reads them back (the baseline reader sees only
rendered text).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from tasks.contexts import visible
from tasks.contexts.context import Context
from tasks.contexts.visible import noted, plain, shown_together

OPEN, CLOSE = "<<", ">>"

MARKED = 0.3
"""Tokens above this share of their context's peak are marked (paper, appendix B)."""

_START, _END = "\x02", "\x03"
_CONFUSING = {
    "<": re.compile(r"<{2,}|(?<=[\x02\x03])<|<(?=[\x02\x03])"),
    ">": re.compile(r">{2,}|(?<=[\x02\x03])>|>(?=[\x02\x03])"),
}
_LOOKALIKE = {"<": "‹", ">": "›"}
_SPAN = re.compile(r"<<(.*?)>>")


def strongest(context: Context, share: float = MARKED) -> tuple[int, ...]:
    """Positions of the tokens above `share` of the context's peak; none in a silent one."""
    bar = share * context.peak
    return tuple(i for i, activation in enumerate(context.activations) if activation > max(bar, 0.0))


def text(strings: Sequence[str], marked: Iterable[int] = ()) -> str:
    """One line of text; neighbouring marked tokens share one pair of markers.

    A mark on a token that shows nothing by itself is set around those that it shows something with; without any, it is
    left out. Angle brackets of the text itself that could be taken for markers become look-alikes.
    """
    chosen = set(marked)
    # Without marks all at once: most contexts have none, and a token at a time takes ten times as long.
    line = "".join(_pieces(strings, chosen)) if chosen else plain("".join(strings))
    for bracket, confusing in _CONFUSING.items():
        if bracket in line:
            line = confusing.sub(lambda match, b=bracket: _LOOKALIKE[b] * len(match[0]), line)
    return line.replace(_START, OPEN).replace(_END, CLOSE)


def _pieces(strings: Sequence[str], chosen: set[int]) -> Iterator[str]:
    inside, end = False, 0
    for run in shown_together(strings):
        if inside == chosen.isdisjoint(range(run.start, run.stop)):
            inside = not inside
            yield _START if inside else _END
        yield plain("".join(strings[run]))
        end = run.stop
    if inside:
        yield _END
    yield plain("".join(strings[end:]))


def importance(context: Context, scale: float) -> list[tuple[str, int]]:
    """What rounds down to at least 1 in tenths of the feature's largest activation, with that integer.

    Tokens that show something only together are one, with the largest of their activations.
    """
    if scale <= 0:
        return []
    listed = []
    for run in shown_together(context.strings):
        tenth = int(10 * min(max(context.activations[run]) / scale, 1.0))
        if tenth >= 1:
            listed.append((plain("".join(context.strings[run])), tenth))
    return listed


def explained(number: int, context: Context, scale: float) -> str:
    """A context as the explainer sees it: its marked text, and activations of a tenth of `scale` or more."""
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
_NOTES = "|".join(map(re.escape, visible.NOTES.values()))
_NOTED = re.compile(rf"\n(?:(?:{_NOTES})\n)+\Z")
_OTHER = re.compile(rf"^(?!Example \d+: |Activations: |Counterexample \d+: |(?:{_NOTES})$|$)", re.MULTILINE)


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

Named = Literal["each", "single", "fitting", "described", "intruder"]
"""What is to be named: 1 or 0 for each example, or for the single one; the numbers of all examples that fit, of the one
that fits, or of the one that has nothing in common with the others."""

ASKED: dict[Named, str] = {
    "each": "Which examples fit the description? Answer with a list of {}.",
    "single": "Does the example fit the description? Answer with one digit.",
    "fitting": "Which of these examples fit the description? Answer with a list of their numbers.",
    "described": "Which one of these examples fits the description? Answer with its number.",
    "intruder": "Which one of these examples does not belong with the others? Answer with its number.",
}
"""The last line of a question, by what the reader is to name; `{}` stands for as many digits."""
_ASKED: dict[Named, re.Pattern[str]] = {
    named: re.compile(re.escape(line).replace(r"\{\}", r"\d+ digits?")) for named, line in ASKED.items()
}


_INSTRUCTED = "\n\nInstructions: "


def instructed(question: str, instructions: str) -> str:
    """A question or the contexts of an explainer, and below it the instructions, which may have several lines."""
    return f"{question}{_INSTRUCTED}{instructions}"


def without_instructions(turn: str) -> str:
    """What stands before the instructions below a question or contexts; all of it where there are none.

    Below a question nothing stands when it ends with what is to be named, whatever its description says.
    """
    before, mark, _ = turn.rpartition(_INSTRUCTED)
    return before if mark and _named(turn) is None else turn


class Question(NamedTuple):
    """A rendered question, read back."""

    description: str | None
    """Null where none is given."""
    named: Named | None
    """Null where the last line says nothing of it."""
    examples: list[Shown]


def write(texts: Sequence[str], description: str | None, named: Named | None = None) -> str:
    """A question about rendered contexts; it explains the signs that are seldom, and ends with what is to be named."""
    question = _shown_and_asked(texts, named, description or "")
    return question if description is None else f"{DESCRIPTION}{description}\n\n{question}"


def _shown_and_asked(texts: Sequence[str], named: Named | None, description: str) -> str:
    digits = "1 digit" if len(texts) == 1 else f"{len(texts)} digits"
    asked = [] if named is None else [ASKED[named].format(digits)]
    return noted("\n\n".join([numbered(texts), *asked]), description)


def about(question: str, examples: int, chosen: slice) -> str:
    """The same question, with 1 or 0 wanted for each example, about some of them."""
    # From the end, where each example is one line: a description may have any.
    head, *lines = question.rsplit("\n", examples + 2)
    head = _NOTED.sub("", head)
    shown = [line.partition(": ")[2] for line in lines[:examples][chosen]]
    return f"{head}\n{_shown_and_asked(shown, 'each', head)}"


def _named(question: str) -> Named | None:
    """What the last line of a question wants named."""
    last = question.rsplit("\n", 1)[-1]
    return next((named for named, line in _ASKED.items() if line.fullmatch(last)), None)


def read_question(text: str) -> Question | None:
    """The question of a rendered prompt; None where it is not a judging question."""
    text = without_instructions(text)
    description = text.removeprefix(DESCRIPTION).split("\n", 1)[0] if text.startswith(DESCRIPTION) else None
    named, examples = _named(text), read(text)
    if not examples or (description is None and named is None):
        return None
    return Question(description, named, examples)
