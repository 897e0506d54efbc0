"""Places that can hold a lake, by URI scheme. A new one is a file in this folder and its class in `BACKENDS`."""

from storage.backends.base import Backend
from storage.backends.local import LocalBackend
from storage.backends.s3 import S3Backend

BACKENDS: dict[str, type[Backend]] = {backend.scheme: backend for backend in (LocalBackend, S3Backend)}
"""Each backend by the scheme of its URIs."""


def places() -> str:
    """How every kind of place is written, for messages: `a folder or s3://bucket/prefix`."""
    return " or ".join(backend.example for backend in BACKENDS.values())
