"""Findings, rules, messages and our own errors: what every other room speaks."""
