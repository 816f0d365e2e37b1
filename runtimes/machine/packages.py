"""Which versions of packages are installed here."""

from __future__ import annotations

from collections.abc import Iterable


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of `names` that are installed, by name."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom needed

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
