"""Realism: how well a good eye tells painted defects from real ones."""
