"""Pixels of a photo: what its camera and light do, measured from the photo alone."""
