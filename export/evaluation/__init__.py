"""Held-out text through the eager model and through a variant: how much of its predictions a variant keeps."""
