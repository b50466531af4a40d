"""Data sets: profiles by whatever engine holds the rows, and what comparing rows shows."""
