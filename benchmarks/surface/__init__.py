"""What a classifier that knows nothing of features reaches by the looks of what readers are shown."""
