"""Where a lake can lie. A new kind of place is one file and a line or two here."""

from storage.backends.base import Backend
from storage.backends.local import LocalBackend
from storage.backends.s3 import S3Backend

BACKENDS: dict[str, type[Backend]] = {"file": LocalBackend, "s3": S3Backend}
