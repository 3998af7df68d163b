"""Inspection models: what utility trains on one arm, each behind the same two calls."""
