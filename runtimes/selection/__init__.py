"""Which runtime and which graph are best here, and why."""
