"""Artifacts on a model hub: fetched from there, and published there."""
