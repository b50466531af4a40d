"""A run on disk: a folder that is written while training and read while written."""
