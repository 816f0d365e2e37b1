"""From canonical operators to those of a target."""
