"""What a reader is shown of a feature."""

VERSION = 5
"""Raise it when the same cache gives other contexts."""
