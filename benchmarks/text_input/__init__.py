"""Graphs that take text, measured: their tokens on 20,000 strings, and their time beside a tokenizer library."""
