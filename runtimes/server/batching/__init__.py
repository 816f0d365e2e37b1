"""Rows of many requests to batches of one graph: a fair queue, a budget of tokens, one thread that computes."""
