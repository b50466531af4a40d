"""Listening to a training run: taps on torch, cheap statistics, the loop's protocol."""
