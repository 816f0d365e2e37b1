"""Is the graph equal to the eager model? Cases, tolerances, fusion counts, runtimes, vectors.json."""
