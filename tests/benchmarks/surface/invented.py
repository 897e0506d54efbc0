"""Features that are invented on the demo's text: each fires on one token, most on rather rare ones, as real ones do."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from tasks.contexts.context import Context, Feature

DEMO = Path(__file__).parents[3] / "deployments" / "demo"
WINDOW = 32
CHARACTERS = 400_000
NUMBER = 120
"""Features."""
EACH = 50
"""Contexts of each kind."""
OTHERS = 10
BLOCK = 24
"""Features of similar density, among which each has its others."""


def features(seed: int = 0) -> list[Feature]:
    """Features with activating contexts in ten deciles, silent ones, and silent ones in which another one fires."""
    draw = random.Random(seed)
    windows = _windows()
    where: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, strings in enumerate(windows):
        for place, string in enumerate(strings):
            where[string][number].append(place)
    frequent = [string for string, there in where.items() if 1.2 * EACH <= len(there) <= len(windows) / 3]
    chosen = sorted(draw.sample(frequent, NUMBER), key=lambda string: len(where[string]))
    blocks = [chosen[first : first + BLOCK] for first in range(0, NUMBER, BLOCK)]
    return [
        Feature(BLOCK * i + j, 9.0, tuple(_contexts(string, block, where, windows, draw)))
        for i, block in enumerate(blocks)
        for j, string in enumerate(block)
    ]


def _windows() -> list[tuple[str, ...]]:
    tokenizer = Tokenizer.from_file(str(DEMO / "subject" / "tokenizer.json"))
    texts = pq.read_table(DEMO / "corpus.parquet")["text"].to_pylist()
    random.Random(3).shuffle(texts)
    tokens: list[str] = []
    read = 0
    for text in texts:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        tokens += [text[begin:end] for begin, end in encoded.offsets]
        read += len(text)
        if read > CHARACTERS:
            break
    return [tuple(tokens[first : first + WINDOW]) for first in range(0, len(tokens) - WINDOW, WINDOW)]


def _contexts(
    string: str,
    block: Sequence[str],
    where: dict[str, dict[int, list[int]]],
    windows: Sequence[tuple[str, ...]],
    draw: random.Random,
) -> list[Context]:
    own = where[string]
    contexts = [
        Context(number, "activating", number * 10 // EACH, windows[window], _on(own[window]))
        for number, window in enumerate(draw.sample(sorted(own), EACH))
    ]
    silent = [window for window in range(len(windows)) if window not in own]
    others = draw.sample([other for other in block if other != string], OTHERS)
    fired = [(other, window) for other in others for window in where[other] if window not in own]
    quiet = (0.0,) * WINDOW
    contexts += [
        Context(EACH + number, "silent", None, windows[window], quiet)
        for number, window in enumerate(draw.sample(silent, EACH))
    ]
    drawn = [draw.choice([item for item in fired if item[0] == others[n % OTHERS]]) for n in range(EACH)]
    return contexts + [
        Context(
            2 * EACH + number,
            "other_feature",
            None,
            windows[window],
            quiet,
            other=block.index(other),
            other_activations=_on(where[other][window]),
        )
        for number, (other, window) in enumerate(drawn)
    ]


def _on(places: Sequence[int]) -> tuple[float, ...]:
    return tuple(9.0 if place in places else 0.0 for place in range(WINDOW))
