"""From text to the subject model's activations, and from these to firings of coders."""

VERSION = 3
"""Raise it when the same model, coder and text give different rows."""
