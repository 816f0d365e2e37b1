"""Kinds of checkpoints that people bring: exported, compared with their libraries, opened in other tools."""
