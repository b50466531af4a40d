"""A diagnosis for people and machines: terminal, JSON, one HTML file. Nothing here decides what is wrong."""
