"""Text in, typed results out: one module a task, found by `runtimes.load`. Loads nothing by itself."""
