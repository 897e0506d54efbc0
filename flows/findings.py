"""What is found out of a reader's servers while they are asked: said once in a run, and remembered in the lake.

A reader's servers are tried anew by every run, since they may have changed; what was found before is remembered, so
that a run which goes on in another way than it began says so. `readers/<hash>.json` holds it, one file for each
`identity` of a reader, as its kept replies have one folder.
"""

from hashlib import sha256

from flows.config import RunConfig
from flows.progress import say_once
from storage.errors import Damaged
from storage.lake import Lake
from tasks.llm.endpoints import OpenAIReader
from tasks.llm.findings import Finding, Note
from tasks.llm.parameters import Parameters
from tasks.llm.replies import spelled

_REMEMBERED = frozenset({"form", "logprobs", "parameters"})
_TAKEN: dict[tuple[str, str, str], Parameters] = {}
"""Settings that servers were found to take, by lake, run and reader: each stage of a run opens its readers anew."""
_WAYS = {"plain": "without a form", "held": "held to a form"}


def noting(config: RunConfig, name: str, reader: OpenAIReader) -> Note:
    """Says and remembers what is found out of a reader's servers."""
    lake, file = Lake(config.lake), path(reader)

    def note(finding: Finding) -> None:
        say_once(config.lake, config.run, f"readers.{name} {finding.line}")
        if finding.about == "parameters":
            _TAKEN[config.lake, config.run, name] = Parameters.read(str(finding.value))
        if finding.about not in _REMEMBERED:
            return
        known = {"reader": reader.identity(), **_known(lake, file)}
        before = known.get(finding.about)
        if before not in (None, finding.value) and finding.about != "parameters":
            say_once(config.lake, config.run, _changed(name, finding, str(before)))
        if before != finding.value:
            lake.write_json(file, {**known, finding.about: finding.value})

    return note


def informed(config: RunConfig, name: str, reader: OpenAIReader) -> OpenAIReader:
    """The reader with the settings that this process has found its servers to take in the same run."""
    taken = _TAKEN.get((config.lake, config.run, name))
    if taken is None:
        return reader
    return reader.model_copy(update={"max_tokens_key": taken.max_tokens_key, "omit": sorted(taken.omit)})


def parameters(lake: Lake, reader: OpenAIReader) -> Parameters:
    """Settings that a reader's servers take, by its config and by what a run has found out."""
    known = _known(lake, path(reader)).get("parameters")
    found = Parameters.read(str(known)) if known else Parameters()
    key = reader.max_tokens_key or found.max_tokens_key
    return Parameters(key, reader.parameters.omit | found.omit)


def path(reader: OpenAIReader) -> str:
    """Where what was found out of a reader is remembered."""
    return f"readers/{sha256(spelled(reader.identity()).encode()).hexdigest()[:16]}.json"


def _known(lake: Lake, file: str) -> dict[str, object]:
    """What is remembered; nothing where the file cannot be read as what it should be."""
    try:
        known = lake.read_json(file)
    except Damaged:
        return {}
    return known or {}


def _changed(name: str, finding: Finding, before: str) -> str:
    what = "its replies" if finding.about == "form" else "its replies with log-probabilities"
    was, now = (_WAYS.get(way, f"held to a form by {way}") for way in (before, finding.value))
    return (
        f"readers.{name} has changed: {what} came {was} before in this lake, and now come {now};"
        " column structured of requests tells them apart"
    )
