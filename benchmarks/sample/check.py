"""Samples the strongest windows of each feature with gloss, and holds them against those that delphi found."""

from collections.abc import Mapping
from typing import Any

from benchmarks import child
from benchmarks.sample.agreement import FeatureWindows, compare
from benchmarks.sample.ours import sampled, spans
from benchmarks.sample.sampling import work
from storage.lake import Lake


def sampled_windows(request: dict[str, Any]) -> dict[int, FeatureWindows]:
    """The strongest windows that the explainer is shown, by feature."""
    lake = Lake(request["lake"])
    asked = work(lake, request["sequences"], request["sequence"], request["sampling"], request["name"])
    taken = spans(lake, request)
    sampled(asked, taken, request["workers"])
    samples, contexts = (
        lake.read(table, [lake.path(asked.step.part(table, part)) for span in taken for part in span])
        for table in ("samples", "contexts")
    )
    shown: dict[int, list[tuple[float, list[int]]]] = {}
    for row in contexts.select(["feature", "role", "peak", "tokens"]).to_pylist():
        if row["role"] == "explain":
            shown.setdefault(row["feature"], []).append((row["peak"], row["tokens"]))
    windows = dict(zip(samples["feature"].to_pylist(), samples["windows"].to_pylist(), strict=True))
    return {feature: FeatureWindows(windows[feature], strongest) for feature, strongest in shown.items()}


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """The agreement with what delphi `made`."""
    theirs = {
        int(feature): FeatureWindows(made["windows"], made["strongest"])
        for feature, made in request["made"].items()
    }
    return compare(sampled_windows(request), theirs)._asdict()


if __name__ == "__main__":
    child.serve(answer)
