"""Runs: the folder that is the truth, and how one is continued."""
