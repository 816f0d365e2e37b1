"""What passes share: matching, writing nodes, the canonical operators."""
