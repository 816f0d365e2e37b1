"""From the spellings of exporters to canonical operators."""
