"""Runs the rules, folds what follows from what, ranks, and honours what the user allowed."""
