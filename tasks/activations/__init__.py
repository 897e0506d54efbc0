"""Text to residuals to firings."""

VERSION = 3
"""Raise it when the same model, coder and text give other rows."""
