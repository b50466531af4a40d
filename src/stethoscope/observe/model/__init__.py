"""The lab: a few steps of a run are captured while it goes on, and replayed on copies when it has ended."""
