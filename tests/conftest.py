"""Fixtures that tests of several folders use, and the tiers of the tests."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.prefect_server import add_cache, prefect, undisturbed
from tests.s3 import s3, s3_session
from tests.tiers import pytest_collection_modifyitems, pytest_configure, pytest_runtest_protocol

__all__ = [
    "add_cache",
    "prefect",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_protocol",
    "s3",
    "s3_session",
    "undisturbed",
]

# A property holds however long a machine takes to try it.
settings.register_profile("gloss", deadline=None)
settings.load_profile("gloss")


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Wait for no disk: only a machine that loses power would notice. Commands, processes of their own, do wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
