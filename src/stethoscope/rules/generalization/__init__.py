"""Rules about what was learned and what was memorised."""
