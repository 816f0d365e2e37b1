"""Our graphs beside those of other tools: time on real text, with and without padding, and the time to load."""
