"""Configuration: composed, checked, built; what a key means where it is not given."""
