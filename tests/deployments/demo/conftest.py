"""The toy, small enough to train coders on within seconds."""

import pytest
import torch
from torch import Tensor

from deployments.demo.training_corpus import demo_texts
from deployments.demo.vectors import packed
from tasks.activations.model import LoadedSubject
from tasks.activations.subject import Subject
from tests.flows.command import TOY


@pytest.fixture(scope="module")
def subject() -> LoadedSubject:
    """The toy's model, in float32."""
    return Subject(model=str(TOY / "subject"), device="cpu").load()


@pytest.fixture(scope="module")
def rows(subject: LoadedSubject) -> Tensor:
    """Rows of the demo's text."""
    torch.set_num_threads(2)
    return packed(demo_texts()[:40], subject)
