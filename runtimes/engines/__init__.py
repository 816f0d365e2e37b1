"""What runs a graph, one file an engine, and the table of them."""
