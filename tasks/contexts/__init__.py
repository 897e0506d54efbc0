"""What a reader is shown of a feature."""

VERSION = 3
"""Raise it when the same cache gives other contexts."""
