"""The baseline reader's explanations: which words and pieces fire, how reliably, beside which words, and themes.

Works on rendered examples only, as a language model would. Its sentences have a fixed form, which
`tasks/llm/baseline/judge.py` reads back with `understand`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields

from tasks.contexts.render import Shown
from tasks.contexts.special_tokens import SIGN
from tasks.llm.baseline.words import COMMON, FORMS, as_piece, cased_words, form, pattern, words

PIECES, NEIGHBOURS, THEMES = 16, 4, 8
"""Most pieces, neighbours per side and themes that a description lists."""

ALWAYS, OFTEN = 0.6, 0.2
"""Lowest shares of its occurrences on which a piece fires for it to be listed as firing always, or often."""


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a description; every word in lower case."""

    always: tuple[str, ...] = ()
    """Words and pieces on which the feature fires nearly wherever they occur, the strongest first."""
    often: tuple[str, ...] = ()
    """Words and pieces on which it fires in part of their occurrences."""
    before: tuple[str, ...] = ()
    """Words that often stand right before them."""
    after: tuple[str, ...] = ()
    """Words that often stand right after them."""
    themes: tuple[str, ...] = ()
    """Words that often occur near them and are not among the commonest in English."""
    form: str | None = None
    """The form that the marked words have in common, a key of `FORMS`; None if there is none."""


def describe(examples: list[Shown]) -> str:
    """One sentence about what sets the marked words of some examples apart."""
    return description_text(_find(examples))


def _find(examples: list[Shown]) -> Description:
    always, often = _pieces(examples)
    sides = [side for example in examples for side in _sides(example)]
    return Description(
        always=always,
        often=often,
        before=_frequent((left for left, _ in sides), len(sides)),
        after=_frequent((right for _, right in sides), len(sides)),
        themes=_themes(examples),
        form=form([word for example in examples for span, _ in example.spans for word in cased_words(span)]),
    )


def _pieces(examples: list[Shown]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Firing pieces by strength, split by the share of their occurrences on which they fire."""
    strength: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    listed = any(example.activations for example in examples)
    for example in examples:
        for token, tenth in example.activations if listed else _marked(example):
            piece = _as_written(token, example)
            if piece:
                strength[piece] += tenth
                fired[piece] += 1
    reliable = {
        piece: count / max(count, sum(len(pattern(piece).findall(example.text)) for example in examples))
        for piece, count in fired.items()
    }
    ranked = sorted(strength, key=lambda piece: (-strength[piece] * reliable[piece], piece))
    top = [piece for piece in ranked[:PIECES] if reliable[piece] >= OFTEN]
    always = tuple(piece for piece in top if reliable[piece] >= ALWAYS)
    return always, tuple(piece for piece in top if piece not in always)


def _marked(example: Shown) -> list[tuple[str, int]]:
    """The words of the marked spans with equal strengths, for examples that list no activations."""
    return [(word, 1) for span, _ in example.spans for word in cased_words(span)]


def _as_written(token: str, example: Shown) -> str:
    """A listed token as a piece, hyphenated by its place in a marked span."""
    for span, start in example.spans:
        inside = span.find(token)
        if inside >= 0:
            first = start + inside
            end = first + len(token)
            return as_piece(token, example.text[first - 1 : first], example.text[end : end + 1])
    place = example.text.find(token)
    return as_piece(
        token, example.text[place - 1 : place] if place > 0 else "", example.text[place + len(token) :][:1]
    )


def _sides(example: Shown) -> Iterable[tuple[str, str]]:
    """The words right before and right after each marked span."""
    for span, start in example.spans:
        left, right = words(example.text[:start]), words(example.text[start + len(span) :])
        yield (left[-1] if left else ""), (right[0] if right else "")


def _frequent(neighbours: Iterable[str], total: int) -> tuple[str, ...]:
    counted = Counter(word for word in neighbours if word)
    return tuple(word for word, count in _ranked(counted)[:NEIGHBOURS] if 5 * count >= total)


def _themes(examples: list[Shown]) -> tuple[str, ...]:
    """Uncommon words that a tenth of the examples contain."""
    containing = Counter(word for example in examples for word in set(words(example.text)))
    rare = ((word, count) for word, count in _ranked(containing) if word not in COMMON and word.isalpha())
    return tuple(word for word, count in rare if 10 * count >= len(examples) and count > 1)[:THEMES]


def _ranked(counted: Counter[str]) -> list[tuple[str, int]]:
    """By count, then alphabetically: the words come from sets, whose order differs between processes."""
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


SECTIONS = {
    "always": "Nearly always on",
    "often": "often on",
    "before": "mostly after",
    "after": "mostly before",
    "themes": "in text with",
    "form": "in the form of",
}
"""How each part of a description is introduced, in this order."""

_QUOTED = re.compile(r'"(.+?)"(?=, "|$)')
_NOTHING = "Nothing that stands out."
_SPECIAL = "special token"
"""The words that stand for the special-token sign in a description."""
_NAMED_SPECIAL = re.compile(rf"{_SPECIAL}s?", re.IGNORECASE)


def description_text(description: Description) -> str:
    """The description as a sentence."""
    parts = []
    for field in fields(description):
        value = getattr(description, field.name)
        listed = value if isinstance(value, str) else ", ".join(map(_quoted, value or ()))
        if listed:
            parts.append(f"{SECTIONS[field.name]} {listed}")
    if not parts:
        return _NOTHING
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _quoted(word: str) -> str:
    return f'"{_SPECIAL if word == SIGN else word}"'


def understand(text: str) -> Description:
    """Parse a description; in one that the baseline reader did not write, the uncommon words count as pieces."""
    if text == _NOTHING:
        return Description()
    lists: dict[str, tuple[str, ...]] = defaultdict(tuple)
    named = None
    for part in text.removesuffix(".").split("; "):
        for name, introduction in SECTIONS.items():
            if part.lower().startswith(introduction.lower()):
                rest = part[len(introduction) + 1 :]
                named = rest if name == "form" and rest in FORMS else named
                lists[name] = () if name == "form" else _listed(rest)
    if not any(lists.values()) and named is None:
        lists["always"] = _uncommon(text)
    return Description(
        lists["always"], lists["often"], lists["before"], lists["after"], lists["themes"], named
    )


def _listed(rest: str) -> tuple[str, ...]:
    """The quoted words of a section; special tokens may be named without quotes."""
    pieces = tuple(SIGN if word == _SPECIAL else word for word in _QUOTED.findall(rest))
    return pieces or ((SIGN,) if _NAMED_SPECIAL.search(rest) else ())


def _uncommon(text: str) -> tuple[str, ...]:
    """The uncommon words of a free-form description, each once."""
    named = words(_NAMED_SPECIAL.sub(SIGN, text))
    return tuple(
        dict.fromkeys(word for word in named if word == SIGN or (word.isalnum() and word not in COMMON))
    )
