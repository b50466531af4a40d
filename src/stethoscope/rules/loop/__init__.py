"""The training loop: what is called, in which order, on what."""
