"""Artifacts in the libraries that people build with: a file a library, which imports it; nothing else here does."""
