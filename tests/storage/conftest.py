"""A lake in every kind of place."""

from pathlib import Path

import pytest

from storage.lake import Lake


@pytest.fixture(params=["file", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake: a local folder that doesn't exist yet, or a prefix on a real S3 server."""
    if request.param == "file":
        return Lake((tmp_path / "lake").as_posix())
    return Lake(request.getfixturevalue("s3").uri)
