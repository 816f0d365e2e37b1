"""Held-out text through the eager model and through a variant: what of its answers a variant keeps."""
