"""Side-by-side measurements against other tools, as ratios within one run. Run `python -m benchmarks`."""
