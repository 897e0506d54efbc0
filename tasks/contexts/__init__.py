"""Contexts, and how readers are shown them."""
