"""Orchestration: what runs in which order, and the `gloss` command."""

__version__ = "0.1.0"
"""Version of the distribution gloss-sae, which pyproject.toml reads here."""
