"""Rules about what parameters start from, and whether training reaches them."""
