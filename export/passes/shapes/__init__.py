"""Symbolic shapes of every value."""
