"""Which windows are drawn of a feature: activating ones, and non-activating ones of every kind."""

VERSION = 5
"""Raise it when the same cache gives other contexts."""
