"""What a reader is shown of a feature."""

VERSION = 4
"""Raise it when the same cache gives other contexts."""
