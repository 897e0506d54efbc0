"""Which windows of a feature are drawn as contexts: activating ones, and non-activating ones of every kind."""

VERSION = 7
"""Raise it when the same cache gives other contexts."""

DECILES = 10
"""Tenths of a feature's windows, by rank of their peak (paper 3.2)."""
