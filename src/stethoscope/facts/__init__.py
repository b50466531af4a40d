"""What can be known about a run, one file for each part of the world. Frozen, plain numbers and numpy arrays."""
