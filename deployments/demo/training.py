"""The training of several coders from one forward pass per batch of text, with a checkpoint after every round of it."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from deployments.demo.topk import (
    CoderPlan,
    CoderTraining,
    Losses,
    Scaling,
    folded,
    linear_map,
    write_sparsify,
)
from deployments.demo.vectors import ROW, CoderSite, Vectors

SEED = 22


@dataclass(frozen=True)
class TrainingPlan:
    """How long is trained, and in which portions."""

    tokens: int = 3_010_000
    """Tokens to train on, BOS left out; in whole rounds and once; at most those of the corpus."""
    round_rows: int = 512
    """Rows whose vectors are held, shuffled and learnt from together; a checkpoint follows each such round."""
    batch_rows: int = 4
    """Rows whose worth of vectors is a batch."""
    scaling_rows: int = 128
    """Rows, the first ones, that give centre and scale of each site."""
    coder: CoderPlan = field(default_factory=CoderPlan)

    @property
    def batch(self) -> int:
        """Vectors of a batch."""
        return self.batch_rows * (ROW - 1)

    @property
    def round_tokens(self) -> int:
        """Vectors of a round."""
        return self.round_rows * (ROW - 1)


class Training:
    """The coders of all sites, and how far they have come."""

    def __init__(
        self, vectors: Vectors, sites: Sequence[CoderSite], rows: Tensor, plan: TrainingPlan, state: Path
    ) -> None:
        """Begin, or take up what `state` holds. Raises `SystemExit` if that has another plan, text or subject."""
        torch.manual_seed(SEED)
        self.vectors = vectors
        self.plan = plan
        self.rounds = min(plan.tokens // (ROW - 1), len(rows)) // plan.round_rows
        self.rows = rows[: self.rounds * plan.round_rows]
        first = vectors.of(rows[: plan.scaling_rows])
        self.scalings = {site: Scaling.of(x) for site, x in first.items()}
        steps = self.rounds * plan.round_rows // plan.batch_rows
        self.coders: dict[CoderSite, CoderTraining] = {}
        for site in sites:
            x, y = (self.scalings[side].scaled(first[side]) for side in (site.reads, site.writes))
            start = linear_map(x, y) if site.transcode else None
            self.coders[site] = CoderTraining(x.shape[1], plan.coder, steps, start)
        self.done = 0
        """Rounds done."""
        self.seconds = {"wall": 0.0, "cpu": 0.0}
        """Time of the rounds done."""
        self.state = state / "checkpoint.pt"
        if self.state.exists():
            self._load()

    def run(self, stop: int | None = None) -> None:
        """Do the rounds that are left, or those before round `stop`."""
        while self.done < (self.rounds if stop is None else stop):
            wall, cpu = time.time(), time.process_time()
            losses = self._round()
            self.done += 1
            self.seconds["wall"] += time.time() - wall
            self.seconds["cpu"] += time.process_time() - cpu
            self._save()
            print(self._progress(losses), flush=True)

    def _round(self) -> dict[CoderSite, list[Losses]]:
        """Vectors of the next rows, in a random order of their own, learnt from batch by batch."""
        first = self.done * self.plan.round_rows
        raw = self.vectors.of(self.rows[first : first + self.plan.round_rows])
        held = {site: self.scalings[site].scaled(x).half() for site, x in raw.items()}
        del raw
        losses: dict[CoderSite, list[Losses]] = {site: [] for site in self.coders}
        for chosen in self._order():
            for site, training in self.coders.items():
                x, y = (held[side][chosen].float() for side in (site.reads, site.writes))
                losses[site].append(training.step(x, y))
        return losses

    def _order(self) -> Iterator[Tensor]:
        draw = torch.Generator().manual_seed(SEED + self.done)
        yield from torch.randperm(self.plan.round_tokens, generator=draw).split(self.plan.batch)

    def _progress(self, losses: dict[CoderSite, list[Losses]]) -> str:
        tokens = self.done * self.plan.round_tokens
        all_tokens = self.rounds * self.plan.round_tokens
        speed = tokens / self.seconds["wall"]
        left = (all_tokens - tokens) / speed / 60
        fits = ", ".join(
            f"{site.module} FVU {sum(loss.fvu for loss in seen) / len(seen):.4f} dead {seen[-1].dead}"
            for site, seen in losses.items()
        )
        return f"{tokens:,} of {all_tokens:,} tokens: {fits}; {speed:.0f} tokens/s, {left:.1f} min left"

    def _save(self) -> None:
        """Write the checkpoint, in one piece or not at all."""
        content = {
            "made_from": self._made_from(),
            "done": self.done,
            "seconds": self.seconds,
            "coders": {site.module: training.state() for site, training in self.coders.items()},
        }
        self.state.parent.mkdir(parents=True, exist_ok=True)
        new = self.state.with_suffix(".new")
        torch.save(content, new)
        new.replace(self.state)

    def _load(self) -> None:
        content = torch.load(self.state, weights_only=True)
        if content.get("made_from") != self._made_from():
            msg = f"{self.state} is of a training with another plan, text or subject: name another folder, or remove it"
            raise SystemExit(msg)
        self.done, self.seconds = content["done"], content["seconds"]
        for site, training in self.coders.items():
            training.load(content["coders"][site.module])
        print(f"going on after round {self.done} of {self.rounds}", flush=True)

    def _made_from(self) -> str:
        """A hash of what decides the coders: the plan, the tokens, and by its first vectors the subject."""
        hashed = hashlib.sha256(json.dumps(asdict(self.plan)).encode())
        hashed.update(self.rows.numpy().tobytes())
        for scaling in self.scalings.values():
            hashed.update(scaling.mean.numpy().tobytes())
        return hashed.hexdigest()

    def write(self, out: Path) -> None:
        """A folder for each coder."""
        for site, training in self.coders.items():
            tensors = folded(training.coder, self.scalings[site.reads], self.scalings[site.writes])
            write_sparsify(tensors, training.coder.k, out / site.module, transcode=site.transcode)

    def describe(self) -> dict[str, object]:
        """Length, portions and time of the training."""
        return {
            "plan": asdict(self.plan) | {"batch": self.plan.batch},
            "training": {
                "tokens": self.done * self.plan.round_tokens,
                "steps": self.done * self.plan.round_rows // self.plan.batch_rows,
                "wall_seconds": round(self.seconds["wall"]),
                "cpu_seconds": round(self.seconds["cpu"]),
            },
        }
