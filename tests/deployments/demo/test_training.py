"""Training of several coders at once, stopped and taken up again, and what is measured of them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deployments.demo.measure import Measuring, mean_loss, measure, replaced
from deployments.demo.topk import CoderPlan
from deployments.demo.training import Training, TrainingPlan
from deployments.demo.vectors import CoderSite, site_vectors
from tasks.activations.model import LoadedSubject

SITES = (CoderSite("layers.2"), CoderSite("layers.3.mlp", transcode=True))
PLAN = TrainingPlan(
    tokens=24 * 255, round_rows=8, batch_rows=1, scaling_rows=8, coder=CoderPlan(features=128, k=8, warmup=2)
)


def _train(subject: LoadedSubject, rows: Tensor, state: Path, *, stop: int | None = None) -> Training:
    with site_vectors(subject, SITES) as vectors:
        training = Training(vectors, SITES, rows, PLAN, state)
        training.run(stop)
    return training


def _written(training: Training, out: Path) -> dict[str, bytes]:
    training.write(out)
    files = (file for file in out.rglob("*") if file.is_file())
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def trained(
    subject: LoadedSubject, rows: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A folder of coders that were trained undisturbed, and its files."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, _written(_train(subject, rows, folder / "state"), folder / "coder")


def test_a_stopped_training_goes_on_to_the_same_bytes(
    subject: LoadedSubject, rows: Tensor, trained: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    """Weights, optimizer, schedule, silent features and place in the text are all in the checkpoint."""
    _train(subject, rows, tmp_path, stop=1)
    (tmp_path / "checkpoint.new").write_bytes(b"cut short while it was written")

    resumed = _train(subject, rows, tmp_path)

    assert 3 == resumed.done
    assert trained[1] == _written(resumed, tmp_path / "coder")


def test_a_checkpoint_of_another_plan_or_text_is_refused(
    subject: LoadedSubject, rows: Tensor, tmp_path: Path
) -> None:
    """Its rounds would not be these."""
    _train(subject, rows, tmp_path, stop=1)
    plan = TrainingPlan(tokens=16 * 255, round_rows=8, scaling_rows=8, coder=PLAN.coder)

    with site_vectors(subject, SITES) as vectors:
        for other, text in ((plan, rows), (PLAN, rows.flip(0))):
            with pytest.raises(SystemExit, match="another plan, text or subject"):
                Training(vectors, SITES, text, other, tmp_path)


def test_the_written_coders_are_measured(
    subject: LoadedSubject, rows: Tensor, trained: tuple[Path, dict[str, bytes]]
) -> None:
    """By then they explain something, and the subject does better with what they say than with the mean."""
    parts = {"heldout": rows[24:], "demo": rows[:8]}

    metrics = measure(subject, trained[0] / "coder", SITES, parts, Measuring(6, 6, 4))

    assert {"layers.2", "layers.3.mlp"} == set(metrics["coders"])
    for numbers in metrics["coders"].values():
        assert 0 < numbers["heldout_fvu"] < 1
        assert numbers["heldout_l0"] <= 8
        assert 0 <= numbers["demo_dead_share"] < 1
        assert metrics["measured"]["loss"] < numbers["spliced_loss"] < numbers["ablated_loss"]
        recovered = (numbers["ablated_loss"] - numbers["spliced_loss"]) / (
            numbers["ablated_loss"] - metrics["measured"]["loss"]
        )
        assert pytest.approx(recovered) == numbers["loss_recovered"]
    assert 6 * 255 == metrics["measured"]["heldout_tokens"]


def test_what_a_module_writes_is_replaced_for_every_token_but_the_first(
    subject: LoadedSubject, rows: Tensor
) -> None:
    """Put back as it is, nothing changes; the hook goes with its context."""
    module = subject.model.get_submodule("model.layers.3")
    own = mean_loss(subject, rows[:2])
    seen = []

    def keep(x: Tensor, y: Tensor) -> Tensor:
        seen.append((x.shape, y.shape))
        return y

    with replaced(module, keep):
        kept = mean_loss(subject, rows[:2])
    with replaced(module, lambda _, y: torch.zeros_like(y)):
        zeroed = mean_loss(subject, rows[:2])

    assert own == kept == mean_loss(subject, rows[:2])
    assert zeroed > own
    assert [((510, 192), (510, 192))] == [tuple(map(tuple, shapes)) for shapes in seen]
