"""Fixtures that tests of several folders use."""

from tests.s3 import s3, s3_session

__all__ = ["s3", "s3_session"]
