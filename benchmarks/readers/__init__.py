"""Asking readers: the client against delphi's on one endpoint that takes no time to think; a run's verdicts again."""
