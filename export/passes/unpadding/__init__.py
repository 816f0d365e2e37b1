"""Hidden states packed as [T, D], so that padding costs nothing."""
