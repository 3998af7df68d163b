"""What a person must know of a run before its numbers, and what to do next."""
