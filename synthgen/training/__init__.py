"""Training: making the embedded model."""
