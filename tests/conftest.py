"""Fixtures that tests of several folders use, and the tiers of the tests."""

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
