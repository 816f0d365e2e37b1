"""Graphs of BERT's family beside optimum's, and beside BERT's own: time, and time for each multiply-add."""
