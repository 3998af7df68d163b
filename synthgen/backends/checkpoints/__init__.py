"""Checkpoints: found, known by family, licence and digest; adapters."""
