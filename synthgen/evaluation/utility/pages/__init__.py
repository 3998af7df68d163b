"""The page of a comparison: its words, plots and template."""
