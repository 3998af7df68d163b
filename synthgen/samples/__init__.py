"""The nouns of a run, and the one table of what is recorded of them."""
