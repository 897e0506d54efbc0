"""The embedded baseline reader: no language model, only counting."""
