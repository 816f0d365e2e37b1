"""Folders of texts in, folders of vectors out, each row once: on this machine's cores, on Ray, on Spark."""
