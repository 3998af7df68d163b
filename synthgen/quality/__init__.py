"""Quality: what is measured on a Candidate, and the limits that decide."""
