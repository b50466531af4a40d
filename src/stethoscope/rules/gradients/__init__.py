"""Gradients and numbers: what comes back from the loss."""
