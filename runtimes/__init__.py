"""Runs artifacts: text in, typed results out. Loads no torch."""
