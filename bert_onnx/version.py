"""The version, apart from the door: what writes it into files need not import that."""

__version__ = "0.2.0"
