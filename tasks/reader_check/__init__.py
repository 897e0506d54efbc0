"""Whether a reader can do what a run will ask of it: questions with known answers, and what the answers say."""
