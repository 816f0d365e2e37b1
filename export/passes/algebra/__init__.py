"""Exact algebra on the canonical graph."""
