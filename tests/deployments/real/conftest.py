"""The demo's subject, small enough to train coders on within seconds."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deployments.real.corpus import demo_texts
from deployments.real.vectors import packed
from tasks.activations.model import LoadedSubject
from tasks.activations.subject import Subject

SUBJECT = Path(__file__).parents[3] / "deployments" / "demo" / "subject"


@pytest.fixture(scope="module")
def subject() -> LoadedSubject:
    """The demo's model, in float32."""
    return Subject(model=str(SUBJECT), device="cpu").load()


@pytest.fixture(scope="module")
def rows(subject: LoadedSubject) -> Tensor:
    """Rows of the demo's text."""
    torch.set_num_threads(2)
    return packed(demo_texts()[:40], subject)
