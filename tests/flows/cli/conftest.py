"""The hand-made lake, one for all questions: they only read it."""

from pathlib import Path

import pytest

from tests.storage.made import made


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    folder = tmp_path_factory.mktemp("made") / "lake"
    made(folder.as_posix())
    return folder
