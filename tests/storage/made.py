"""A small lake made by hand: two coders, two explainers, two scorers, and a row of every kind in every table.

Its texts are words `w0` to `w35`; feature f of a coder fires on the words whose number leaves f when divided by the
width. Features 0 to 7 are sampled, 8 and 9 skipped, the others not chosen. Explainer `good` explains all that are
sampled; `odd` explains even ones as well and odd ones by chance, and fails on feature 6.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from shutil import copyfile, copytree
from tempfile import TemporaryDirectory
from zlib import crc32

import fsspec
import pyarrow as pa

from storage.lake import Lake
from storage.layout import Range, Step
from storage.scores import scores
from storage.tables import NO_EXPLAINER, TABLES
from tests.storage.toys import blank

RUN = "made"
WIDTH = 12
SEQUENCES = 40
LENGTH = 24
WINDOW = 8
EXPLAIN = 5
CODERS = {"small": "layers.2", "large": "layers.5"}
EXPLAINERS = ("good", "odd")
SCORERS = ("detection", "fuzzing")
CONTROLS = ("shuffled",)
"""Of scorers that need an explanation."""
WHOLE = Range(0, WIDTH)

Row = dict[str, object]


def made(
    uri: str,
    scorers: tuple[str, ...] = SCORERS,
    run: str = RUN,
    alone: tuple[str, ...] = (),
    controls: tuple[str, ...] = CONTROLS,
) -> Lake:
    """Put it into an empty place, with every step committed; scorers that are `alone` need no explanation."""
    lake = Lake(uri)
    folder = Path(_template(scorers, run, alone, controls).name)
    if lake.is_local:
        copytree(folder, uri, copy_function=copyfile, dirs_exist_ok=True)
    else:
        files = [file for file in folder.rglob("*") if file.is_file()]
        with fsspec.open_files([f"{uri}/{file.relative_to(folder)}" for file in files], "wb") as opened:
            for file, target in zip(files, opened, strict=True):
                target.write(file.read_bytes())
    return lake


@cache
def _template(
    scorers: tuple[str, ...], run: str, alone: tuple[str, ...], controls: tuple[str, ...]
) -> TemporaryDirectory[str]:
    """A folder with the lake, which is made once per process."""
    folder = TemporaryDirectory(prefix="made-lake-")
    _make(Lake(folder.name), scorers, run, alone, controls)
    return folder


def _make(
    lake: Lake, scorers: tuple[str, ...], run: str, alone: tuple[str, ...], controls: tuple[str, ...]
) -> None:
    steps = []

    def commit(stage: str, name: str, rows: Mapping[str, Iterable[Row]]) -> Step:
        step = Step(stage, name, tuple(rows), {"scorers": scorers}, 1)
        for table, table_rows in rows.items():
            lake.write(TABLES[table], step.part(table, WHOLE), _table(table, table_rows))
        lake.commit(step, [WHOLE])
        steps.append(step)
        return step

    commit("tokens", "corpus", {"tokens": map(_sequence, range(SEQUENCES))})
    for coder in CODERS:
        contexts = _contexts(coder)
        commit("activations", coder, {"activations": _firings(coder)})
        commit("features", coder, {"features": [_feature(coder, feature) for feature in range(WIDTH)]})
        samples = [_sample(coder, feature) for feature in range(WIDTH)]
        sampled = commit("contexts", coder, {"samples": samples, "contexts": contexts})
        for explainer in EXPLAINERS:
            explanations = [_explanation(coder, explainer, feature) for feature in range(8)]
            asked = [_request(row, explainer) for row in explanations]
            commit("explanations", f"{coder}/{explainer}", {"requests": asked, "explanations": explanations})
            for scorer in scorers:
                name = f"{coder}/{explainer}/{scorer}"
                judgements = [
                    _judgement(context, explainer, scorer, control)
                    for control in ("none", *controls)
                    for context in contexts
                    if context["role"] == "score" and not (explainer == "odd" and context["feature"] == 6)
                ]
                asked = [_request(row, f"{explainer}/{scorer}") for row in judgements]
                judged = commit("judgements", name, {"requests": asked, "judgements": judgements})
                commit("scores", name, {"scores": _scores(lake, judged, sampled)})
        for scorer in alone:
            name = f"{coder}/{NO_EXPLAINER}/{scorer}"
            shown = [context for context in contexts if context["role"] == "score"]
            judgements = [
                _judgement(context, NO_EXPLAINER, scorer, control)
                for control in ("none", "mixed")
                for context in shown
            ]
            asked = [_request(row, f"{NO_EXPLAINER}/{scorer}") for row in judgements]
            judged = commit("judgements", name, {"requests": asked, "judgements": judgements})
            commit("scores", name, {"scores": _scores(lake, judged, sampled)})
    commit("embeddings", "corpus", {"embeddings": _embeddings()})
    record = {"run": run, "config": _config((*scorers, *alone)), "steps": [_recorded(step) for step in steps]}
    lake.write_json(f"runs/{run}.json", record)


def _config(scorers: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    return {
        "coders": [{"name": name, "site": site} for name, site in CODERS.items()],
        "scorers": [{"name": name} for name in scorers],
    }


def _recorded(step: Step) -> dict[str, object]:
    return {
        "stage": step.stage,
        "name": step.name,
        "fingerprint": step.fingerprint,
        "tables": list(step.tables),
        "folders": {table: step.folder(table) for table in step.tables},
        "manifest": step.manifest,
    }


def _table(name: str, rows: Iterable[Row]) -> pa.Table:
    """Rows that say what matters, with some value in every other column."""
    table = TABLES[name]
    return table.rows([{**blank(name), **row} for row in rows])


def _draw(*key: object) -> int:
    """A number below a million and three that only the key decides."""
    return crc32(json.dumps(key).encode()) % 1_000_003


@cache
def _word(sequence: int, position: int) -> int:
    return _draw("word", sequence, position) % (3 * WIDTH)


@cache
def _strength(coder: str, feature: int, sequence: int, position: int) -> float:
    """The feature's activation at a position, 0 where it is silent; feature 9 is dead."""
    fires = _word(sequence, position) % WIDTH == feature and feature != 9
    return 1.0 + _draw(coder, feature, sequence, position) % 64 / 16 if fires else 0.0


def _sequence(sequence: int) -> Row:
    words = [_word(sequence, position) for position in range(LENGTH)]
    return {"sequence": sequence, "tokens": words, "strings": [f" w{word}" for word in words]}


def _embeddings() -> list[Row]:
    """A vector for each window of the grid."""
    return [
        {"model": "toy", "sequence": sequence, "start": start, "vector": [0.0, 1.0]}
        for sequence in range(SEQUENCES)
        for start in range(0, LENGTH, WINDOW)
    ]


@cache
def _firings(coder: str) -> list[Row]:
    return [
        {"coder": coder, "feature": feature, "sequence": sequence, "position": place, "activation": strength}
        for feature in range(WIDTH)
        for sequence in range(SEQUENCES)
        for place in range(LENGTH)
        if (strength := _strength(coder, feature, sequence, place))
    ]


def _feature(coder: str, feature: int) -> Row:
    activations = [row["activation"] for row in _firings(coder) if row["feature"] == feature]
    near = [(feature + 1) % WIDTH, (feature + 2) % WIDTH]
    return {
        "coder": coder,
        "feature": feature,
        "firings": len(activations),
        "density": len(activations) / SEQUENCES / LENGTH,
        "dead": not activations,
        "top_logits": [{"token": f" w{feature}", "logit": 2.0}],
        "neighbours": [{"feature": other, "cosine": 0.9 - 0.1 * place} for place, other in enumerate(near)],
    }


def _sample(coder: str, feature: int) -> Row:
    status = "sampled" if feature < 8 else "skipped" if feature < 10 else "not chosen"
    return {
        "coder": coder,
        "feature": feature,
        "status": status,
        "reason": {8: "it is too dense", 9: "it never fires"}.get(feature),
        "windows": None if feature >= 10 else 40,
        "windows_total": SEQUENCES * LENGTH // WINDOW,
    }


def _contexts(coder: str) -> list[Row]:
    """For each sampled feature its windows, strongest first: the first for the explainer, silent ones as negatives."""
    rows = []
    for feature in range(8):
        windows = [
            [_strength(coder, feature, sequence, start + place) for place in range(WINDOW)]
            + [sequence, start]
            for sequence in range(SEQUENCES)
            for start in range(0, LENGTH, WINDOW)
        ]
        ranked = sorted(windows, key=lambda window: -max(window[:WINDOW]))
        firing = [window for window in ranked if max(window[:WINDOW])]
        for number, window in enumerate([*firing, *ranked[-len(firing) :]]):
            *strengths, sequence, start = window
            fires = number < len(firing)
            words = [_word(int(sequence), int(start) + place) for place in range(WINDOW)]
            rows.append(
                {
                    "coder": coder,
                    "feature": feature,
                    "context": number,
                    "role": "explain" if number < EXPLAIN else "score",
                    "kind": "activating" if fires else "random",
                    "decile": number * 10 // len(firing) if fires else None,
                    "sequence": int(sequence),
                    "start": int(start),
                    "tokens": words,
                    "strings": [f" w{word}" for word in words],
                    "activations": strengths,
                    "peak": max(strengths),
                    "peak_position": strengths.index(max(strengths)) if fires else None,
                }
            )
    return rows


def _explanation(coder: str, explainer: str, feature: int) -> Row:
    failed = explainer == "odd" and feature == 6
    return {
        "coder": coder,
        "feature": feature,
        "explainer": explainer,
        "replicate": 0,
        "text": None if failed else f"The words w{feature} and w{feature + WIDTH}, says {explainer}.",
        "status": "failed" if failed else "ok",
        "reason": "no line EXPLANATION: in the reply" if failed else None,
        "model": "reader",
        "prompt_tokens": 900,
    }


def _judgement(context: Row, explainer: str, scorer: str, control: str) -> Row:
    """Right but for one in ten where the explanation is good, by chance elsewhere; one in fifty cannot be read."""
    key = [context["coder"], context["feature"], context["context"], explainer, scorer, control]
    feature, truth, luck = int(str(context["feature"])), context["kind"] == "activating", _draw(*key)
    good = control == "none" and (explainer == "good" or feature % 2 == 0)
    failed = luck % 50 == 0
    return {
        "coder": context["coder"],
        "feature": feature,
        "explainer": explainer,
        "replicate": 0,
        "control": control,
        "explanation_of": feature if control == "none" else (feature + 1) % 8,
        "scorer": scorer,
        "context": context["context"],
        "request": f"{feature}/0/{control}/{context['context']}",
        "truth": truth,
        "verdict": None if failed else truth == (luck % 10 != 0) if good else luck % 2 == 0,
        "probability": None,
        "status": "failed" if failed else "ok",
        "reason": "the reply is no list" if failed else None,
    }


def _scores(lake: Lake, judged: Step, sampled: Step) -> list[Row]:
    def parts(step: Step, table: str) -> list[str]:
        return [lake.path(step.part(table, WHOLE))]

    with lake.connect(threads=1) as connection:  # the rows are few: threads would only wait for each other
        return scores(
            connection,
            judgements=parts(judged, "judgements"),
            contexts=parts(sampled, "contexts"),
            samples=parts(sampled, "samples"),
        ).to_pylist()


def _request(row: Row, component: str) -> Row:
    return {
        "coder": row["coder"],
        "feature": row["feature"],
        "stage": "score" if "/" in component else "explain",
        "component": component,
        "request": row.get("request", f"{row['feature']}/0"),
        "model": "reader",
        "prompt_tokens": 900,
        "cached_tokens": 600,
        "completion_tokens": 20,
        "cost": 0.001,
        "status": "ok",
    }
