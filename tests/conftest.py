"""Fixtures that tests of several folders use, and which tests are whole commands."""

import pytest

from tests.prefect_server import prefect, undisturbed
from tests.s3 import s3, s3_session

__all__ = ["prefect", "s3", "s3_session", "undisturbed"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a Prefect server as a test of the whole command, before marks choose what is run."""
    for item in items:
        needs_server = isinstance(item, pytest.Function) and "prefect" in item.fixturenames
        if needs_server and item.get_closest_marker("faults") is None:
            item.add_marker(pytest.mark.e2e)
