"""Utility: what an inspection model, trained with the data, scores on real held-out images."""
