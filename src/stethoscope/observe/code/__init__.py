"""Reads source files and notebooks without running them, and turns them into facts. Needs `ast`, and no torch."""
