"""The nouns of the flow, and the seeds that every draw comes from."""
