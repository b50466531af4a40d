"""The data that flows through the loop."""
