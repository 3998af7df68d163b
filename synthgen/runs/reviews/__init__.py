"""What people decided of a run's samples, and what follows from it."""
