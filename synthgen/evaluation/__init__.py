"""Evaluation: how faithfully a backend paints what it is asked for."""
