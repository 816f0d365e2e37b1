"""Variants of lower precision beside those of other tools: what they keep, and how fast they are."""
