"""Experiments on copies before training: what a careful engineer tries in the first ten minutes."""
