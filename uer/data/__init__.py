"""Text to batches: readers, the dataset file, its order, the objectives. No torch here."""
