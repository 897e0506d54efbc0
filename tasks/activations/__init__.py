"""Text to residuals to firings."""

VERSION = 1
"""Raise it when the same model, coder and text give other rows."""
