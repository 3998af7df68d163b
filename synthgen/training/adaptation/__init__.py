"""Adapting a backend to real defects."""
