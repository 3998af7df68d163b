"""Painting with diffusion models: loading, crops, prompts, pipelines."""
