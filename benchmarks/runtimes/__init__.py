"""Every variant on every runtime: docs/parity-runtimes.md."""
