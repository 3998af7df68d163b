"""Export: a run folder as a dataset that other tools read."""
