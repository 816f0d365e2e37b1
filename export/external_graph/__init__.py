"""Graphs that other exporters made: read, recognised, rewritten for a target, compared with themselves."""
