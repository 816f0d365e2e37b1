"""The commands, one module each: `add` tells the parser about it, and its handler does the work.

What is heavy is imported inside handlers, so that `--help` is quick.
"""
