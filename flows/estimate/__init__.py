"""`gloss estimate`: what a run takes, before it is begun."""

from flows.estimate.page import show_estimate

__all__ = ["show_estimate"]
