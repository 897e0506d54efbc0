"""How the baseline reader explains: which words are marked, what stands beside them, what else the excerpts share.

Works on rendered examples only, as a language model would. Its sentences have a fixed form, which
`tasks/llm/embedded/judge.py` reads back with `understand`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.contexts.render import Shown
from tasks.llm.embedded.words import COMMON, FORMS, form, spelled, words

TOKENS, NEIGHBOURS, THEMES = 10, 4, 8
"""Longest lists that a description names."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a description names; every word in lower case."""

    tokens: tuple[str, ...] = ()
    """Words or word pieces on which the feature fires, the most typical first."""
    before: tuple[str, ...] = ()
    """Words that often stand right before them."""
    after: tuple[str, ...] = ()
    """Words that often stand right after them."""
    themes: tuple[str, ...] = ()
    """Words that often occur near them and seldom elsewhere."""
    form: str | None = None
    """What the marked words have in common in form."""


def describe(examples: list[Shown]) -> str:
    """One sentence about what sets the marked words of some examples apart."""
    return write(_find(examples))


def _find(examples: list[Shown]) -> Description:
    marks = [word for example in examples for span in example.marked for word in spelled(span)]
    sides = [side for example in examples for side in _sides(example)]
    return Description(
        tokens=_typical(examples),
        before=_frequent((left for left, _ in sides), len(sides)),
        after=_frequent((right for _, right in sides), len(sides)),
        themes=_themes(examples),
        form=form(marks),
    )


def _typical(examples: list[Shown]) -> tuple[str, ...]:
    """Marked words by strength, those that also stand unmarked in the same examples counting less."""
    strength: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    everywhere: Counter[str] = Counter()
    for example in examples:
        everywhere.update(words(example.text))
        marked.update(word for span in example.marked for word in words(span))
        for token, tenth in example.activations:
            for word in words(token):
                strength[word] += tenth
    weight = {
        word: (strength[word] + marked[word]) * min(1.0, marked[word] / max(everywhere[word], 1))
        for word in marked
    }
    ranked = sorted(weight, key=lambda word: (-weight[word], word))
    enough = 0.02 * sum(weight.values())
    return tuple(word for word in ranked[:TOKENS] if weight[word] >= enough)


def _sides(example: Shown) -> Iterable[tuple[str, str]]:
    """The words right before and right after each marked span."""
    position = 0
    for span in example.marked:
        position = example.text.find(span, position)
        if position < 0:
            return
        left, right = words(example.text[:position]), words(example.text[position + len(span) :])
        yield (left[-1] if left else ""), (right[0] if right else "")
        position += len(span)


def _frequent(neighbours: Iterable[str], total: int) -> tuple[str, ...]:
    counted = Counter(word for word in neighbours if word)
    return tuple(word for word, count in counted.most_common(NEIGHBOURS) if 5 * count >= total)


def _themes(examples: list[Shown]) -> tuple[str, ...]:
    """Uncommon words that a tenth of the examples contain."""
    containing = Counter(word for example in examples for word in set(words(example.text)))
    rare = ((word, count) for word, count in containing.most_common() if word not in COMMON and word.isalpha())
    return tuple(word for word, count in rare if 10 * count >= len(examples) and count > 1)[:THEMES]


def write(found: Description) -> str:
    """The description as a sentence."""
    tokens = f"The tokens {_quoted(found.tokens)}" if found.tokens else "Tokens"
    parts = [
        f"{tokens}{f', mostly {found.form}' if found.form else ''}",
        f"often after {_quoted(found.before)}" if found.before else "",
        f"often before {_quoted(found.after)}" if found.after else "",
        f"in text with {_quoted(found.themes)}" if found.themes else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _quoted(listed: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in listed)


_QUOTED = re.compile(r'"(.+?)"(?=[,;.\s]|$)')


def understand(text: str) -> Description:
    """What a description names; for one that somebody else wrote, its uncommon words count as tokens."""
    sections = {"tokens": "", "often after": "", "often before": "", "in text with": ""}
    for part in text.rstrip(".").split("; "):
        for name in sections:
            if part.lower().removeprefix("the ").startswith(name):
                sections[name] = part
    lists = {name: tuple(_QUOTED.findall(part)) for name, part in sections.items()}
    named = next((name for name in FORMS if f"mostly {name}" in sections["tokens"]), None)
    tokens = lists["tokens"]
    if not any(lists.values()) and named is None:
        tokens = tuple(word for word in words(text) if word not in COMMON)
    return Description(tokens, lists["often after"], lists["often before"], lists["in text with"], named)
