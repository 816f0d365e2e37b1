"""Errors of disks and of clients of object stores, which have errors of their own, and no base class in common."""

from __future__ import annotations

#: Packages whose errors mean that a store refused.
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "requests", "fsspec")


def is_refusal(error: Exception) -> bool:
    """Whether `error` says that a store refused; else it is a fault of ours."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENTS


def reason_of(error: Exception) -> str:
    """What it says, in a line without a full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
