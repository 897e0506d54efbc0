"""Intervals of scores on judgements whose truth is known: how often they contain it."""
