"""Turns the world into facts. Torch lives here and nowhere else."""
