"""The loss: what goes into it."""
