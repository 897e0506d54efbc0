"""What a small language model is worth as a reader, and which layouts of prompts help it."""
