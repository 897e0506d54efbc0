"""Features that are invented on the demo's text and sampled as real ones are: each fires on one token."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import ACTIVATIONS, FEATURES, TOKENS
from tasks.contexts.context import CONTEXT_COLUMNS, Feature
from tasks.contexts.context import features as records
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import OtherFeature, Silent
from tasks.sampling.work import SampleWork
from tests.flows.command import CORPUS, TOY
from tests.storage.toys import value
from tests.tasks.caches import CODER, sample, steps

LENGTH = 256
"""Tokens per sequence."""
SEQUENCES = 800
NUMBER = 160
"""Features."""
RARE, FREQUENT = 80, 2_000
"""Firings of a feature at least and at most."""
EACH = 50
"""Contexts of each kind for the scorers."""


def features(folder: Path, windows: Literal["grid", "peak"] = "grid", seed: int = 0) -> list[Feature]:
    """Features with contexts for scorers: activating, silent, and silent ones in which another one fires."""
    lake = Lake(folder.as_posix())
    _write(lake, seed)
    cached_tokens, activations, coder_features, contexts = steps()
    asked = Sampling(
        windows=windows,
        explain=10,
        per_decile=EACH // 10,
        negatives=(Silent(n=EACH), OtherFeature(n=EACH)),
        min_firings=RARE,
    )
    work = SampleWork(lake, CODER, contexts, cached_tokens, activations, coder_features, asked, LENGTH, 22)
    whole = Range(0, NUMBER)
    sample(work, [whole], range(NUMBER))
    drawn = lake.read("contexts", [lake.path(contexts.part("contexts", whole))], (*CONTEXT_COLUMNS, "role"))
    sampled = lake.read("samples", [lake.path(contexts.part("samples", whole))], ("feature", "status", "max"))
    scored = drawn.filter([role == "score" for role in drawn["role"].to_pylist()])
    return records(scored, sampled.filter([status == "sampled" for status in sampled["status"].to_pylist()]))


def _write(lake: Lake, seed: int) -> None:
    """Write and commit a cache of the features: tokens, activations, features."""
    ids, strings = tokens()
    places: dict[int, list[int]] = defaultdict(list)
    for place, token in enumerate(ids):
        if place % LENGTH:
            places[token].append(place)
    draw = random.Random(seed)
    chosen = draw.sample(sorted(t for t, there in places.items() if RARE <= len(there) <= FREQUENT), NUMBER)
    write(lake, steps()[:3], CODER, ids, strings, [places[token] for token in chosen], draw)


def write(
    lake: Lake,
    cached: Sequence[Step],
    coder: str,
    ids: Sequence[int],
    strings: Sequence[str],
    places: Sequence[Sequence[int]],
    draw: random.Random,
) -> None:
    """Write and commit the steps tokens, activations and features; each feature fires at its places."""
    parts = Range(0, len(ids) // LENGTH), Range(0, len(ids) // LENGTH), Range(0, len(places))
    rows = [
        {
            "sequence": sequence,
            "tokens": ids[sequence * LENGTH : (sequence + 1) * LENGTH],
            "strings": strings[sequence * LENGTH : (sequence + 1) * LENGTH],
            "documents": [sequence],
            "starts": [1],
            "offsets": [0],
        }
        for sequence in range(*parts[0])
    ]
    fired = [
        {
            "coder": coder,
            "feature": feature,
            "sequence": place // LENGTH,
            "position": place % LENGTH,
            "activation": 1.0 + draw.randrange(64) / 8,
        }
        for feature, there in enumerate(places)
        for place in there
    ]
    blank = {field.name: None if field.nullable else value(field.type) for field in FEATURES.schema}
    described = [
        {**blank, "coder": coder, "feature": feature, "firings": len(there), "max": 9.0}
        | {"density": len(there) / len(ids), "dead": False}
        for feature, there in enumerate(places)
    ]
    made = ((TOKENS, rows), (ACTIVATIONS, fired), (FEATURES, described))
    for step, part, (table, content) in zip(cached, parts, made, strict=True):
        lake.write(table, step.part(table.name, part), table.rows(content))
        lake.commit(step, [part])


def tokens() -> tuple[list[int], list[str]]:
    """Ids and texts of sequences, each with the sign of a beginning first."""
    tokenizer = Tokenizer.from_file(str(TOY / "subject" / "tokenizer.json"))
    texts = pq.read_table(CORPUS)["text"].to_pylist()
    random.Random(3).shuffle(texts)
    ids: list[int] = []
    strings: list[str] = []
    for text in texts:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        for token, (begin, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if len(ids) % LENGTH == 0:
                ids.append(0)
                strings.append("<s>")
            ids.append(token)
            strings.append(text[begin:end])
        if len(ids) >= SEQUENCES * LENGTH:
            break
    return ids[: SEQUENCES * LENGTH], strings[: SEQUENCES * LENGTH]
