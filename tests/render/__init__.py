"""Tests of what people and machines are shown."""
