"""The eager model that every graph is compared with."""
