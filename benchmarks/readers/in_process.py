"""The reader in process beside the forward passes that it needs: a run's detection questions, asked of a real model.

A bare pass is the model's own forward, as transformers runs it, over as many rows and new tokens as one of the reader's
passes had, after as many tokens with keys and values in transformers' own cache; rows are of equal length, so that
padding counts as the reader's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import child
from benchmarks.command import say
from benchmarks.meter import Meter
from benchmarks.readers.cases import Size
from benchmarks.readers.recorded import Recorded, recorded
from benchmarks.report import Bound, Figure
from storage.lake import Lake
from tasks.llm.in_process.reader import TransformersReader
from tasks.llm.request import Request

BOUNDS = {
    "in_process_tokens_computed_over_prompt": Bound(at_most=True, value=0.35),
    "in_process_cpu_over_forward": Bound(at_most=True, value=1.5),
}
_QUESTIONS = 20
"""Asked about each feature: 100 contexts, 5 at a time."""


class Pass(NamedTuple):
    """The size of one pass through the model."""

    rows: int
    before: int
    """Tokens of a row, in the mean, whose keys and values are there."""
    new: int
    """Tokens of a row, in the mean, that are computed."""


def measure(lake: str, run: str, model: str, size: Size) -> list[Figure]:
    """What some rounds took, each in a process of its own. Raises `RunFailed` where one fails."""
    request = {"lake": lake, "run": run, "model": model, "features": size.real_features}
    rounds = []
    for _ in range(size.real_rounds):
        rounds.append(child.run("benchmarks.readers.in_process", request, threads=1))
        say(f"  {rounds[-1]['cpu_s']:.1f} s of CPU, the bare passes {rounds[-1]['bare_s']:.1f} s")
    return [
        Figure.of(
            "in_process_tokens_computed_over_prompt",
            [spent["computed"] / spent["prompts"] for spent in rounds],
        ),
        Figure.of("in_process_cpu_over_forward", [spent["cpu_s"] / spent["bare_s"] for spent in rounds]),
        Figure.of(
            "in_process_cpu_ms_per_verdict",
            [1000 * spent["cpu_s"] / spent["verdicts"] for spent in rounds],
            "ms",
        ),
    ]


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Ask the questions about some features, and run the bare passes in turns with them, a feature at a time."""
    # Local, since they load torch.
    import torch  # noqa: PLC0415

    from tasks.llm.in_process.load import engine  # noqa: PLC0415

    asked = recorded(Lake(request["lake"]), request["run"], request["features"])
    config = TransformersReader(kind="transformers", model=request["model"], device="cpu")
    made = engine(config)
    spent = {"cpu_s": 0.0, "bare_s": 0.0, "computed": 0, "prompts": 0, "verdicts": 0}
    with torch.inference_mode():
        for questions in _by_feature(asked):
            passes = _watched(made.network)
            told = {}
            with Meter() as meter:
                made.answer(questions, told.__setitem__)
            spent["cpu_s"] += meter.cpu_s
            for reply in (answered.reply for answered in told.values() if answered.reply):
                spent["prompts"] += reply.usage.prompt_tokens or 0
                spent["computed"] += (reply.usage.prompt_tokens or 0) - (reply.usage.cached_tokens or 0)
            spent["verdicts"] += sum(len(question.contexts) for question in questions)
            spent["bare_s"] += sum(_bare(made.network.model, size) for size in passes)
    return spent


def _by_feature(asked: Recorded) -> list[list[Request]]:
    """The questions of detection about each feature."""
    assert asked.detection is not None  # the command has looked for it
    return [asked.detection.requests(item.key, item.text, item.feature)[:_QUESTIONS] for item in asked.posed]


def _watched(network: Any) -> list[Pass]:
    """The sizes of the passes that a network makes from here on."""
    passes: list[Pass] = []
    start, go_on = type(network).start, type(network).go_on

    def started(rows: Sequence[Any], **options: bool) -> Any:
        before, new = sum(len(row.past) for row in rows), sum(len(row.ids) for row in rows)
        passes.append(Pass(len(rows), round(before / len(rows)), round(new / len(rows))))
        return start(network, rows, **options)

    def went_on(ids: Sequence[Sequence[int]]) -> Any:
        lengths = network.lengths
        passes.append(Pass(len(ids), round(sum(lengths) / len(lengths)), len(ids[0])))
        return go_on(network, ids)

    network.start, network.go_on = started, went_on
    return passes


def _bare(model: Any, size: Pass) -> float:
    """Seconds of CPU of one forward pass of the model over random tokens."""
    import torch  # noqa: PLC0415
    from transformers.cache_utils import DynamicCache  # noqa: PLC0415

    cache = DynamicCache(config=model.config)
    if size.before:
        short: Any = DynamicCache(config=model.config)
        model(torch.zeros(1, 1, dtype=torch.long), past_key_values=short, use_cache=True)
        for number, layer in enumerate(short.layers):
            shape = (size.rows, layer.keys.shape[1], size.before)
            keys, values = (
                torch.randn(*shape, state.shape[3], dtype=state.dtype) for state in (layer.keys, layer.values)
            )
            cache.update(keys, values, number)
    ids = torch.randint(0, 1000, (size.rows, size.new))
    with Meter() as meter:
        model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return meter.cpu_s


if __name__ == "__main__":
    child.serve(answer)
