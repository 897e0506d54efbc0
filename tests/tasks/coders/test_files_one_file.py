"""A path names a file or a folder, told by its ending."""

import pytest

from tasks.coders import files


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("a/b/params.npz", "a/b", "params.npz"),
        ("params.npz", ".", "params.npz"),
        ("/params.npz", "/", "params.npz"),
        ("s3://bucket/a/params.npz", "s3://bucket/a", "params.npz"),
        ("owner/name/params.npz", "owner/name", "params.npz"),
        ("a/b", "a/b", None),
        ("a.npz/b", "a.npz/b", None),
    ],
)
def test_a_file_is_told_by_its_ending(path: str, folder: str, name: str | None) -> None:
    """Of a local path, a URL and a Hub name alike."""
    assert (folder, name) == files.split_file(path, (".npz",))
