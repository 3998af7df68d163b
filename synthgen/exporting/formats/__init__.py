"""One module for each format: it writes a dataset, and reads it back."""
