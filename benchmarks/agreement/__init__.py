"""Whether gloss' scorers and delphi's give the same verdicts on the same windows."""
