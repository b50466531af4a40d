"""Rules about what layers put out."""
