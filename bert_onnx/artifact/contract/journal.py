"""The journal of a replacement by two renames, for file systems that cannot exchange two folders in one step.

    write journal  ->  rename NAME to .NAME.staging-...old  ->  rename .NAME.staging-... to NAME  ->  remove journal

Between the renames nothing is called NAME. The next reader or publisher reads in the journal which complete folder was
about to become NAME, and does the second rename itself. That needs no lock: a folder is never renamed onto one that is
not empty, and names of staging folders do not come back.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


def staging_prefix(destination: Path) -> str:
    """How the names of all staging folders of `destination` begin."""
    return f".{destination.name}.staging-"


def journal_path(destination: Path) -> Path:
    """Where the journal of `destination` lies. `destination` must be resolved."""
    return destination.parent / f".{destination.name}.journal"


def write(destination: Path, staging: Path) -> None:
    """Note down that `staging` is complete and about to become `destination`.

    Raises:
        OSError: it could not be stored.
    """
    path = journal_path(destination)
    draft = path.with_name(path.name + ".new")
    with open(draft, "w", encoding="utf-8") as file:
        file.write(json.dumps({"staged": staging.name}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def clear(destination: Path) -> None:
    """Remove the journal of `destination`, finished or not, if there is one."""
    path = journal_path(destination)
    for name in (path, path.with_name(path.name + ".new")):
        name.unlink(missing_ok=True)


def old_folder(staging: Path) -> Path:
    """Where the folder that `staging` replaces goes meanwhile."""
    return staging.with_name(staging.name + ".old")


def staged_folder(folder: Path) -> Path | None:
    """The folder that must become `folder`, according to a journal: the new one, or the old one if that is lost."""
    destination = Path(os.path.realpath(folder))
    try:
        name = json.loads(journal_path(destination).read_text("utf-8"))["staged"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(name, str) or not name.startswith(staging_prefix(destination)) or os.path.basename(name) != name:
        return None
    staged = destination.parent / name
    for candidate in (staged, old_folder(staged)):
        if candidate.is_dir() and not candidate.is_symlink():
            return candidate
    return None


def finish(folder: Path) -> None:
    """Do the second rename where a publisher died, or merely paused, between the two. Never fails: readers call it."""
    with suppress(OSError):  # somebody else did it first, or we may not write here; the caller looks again
        settle(Path(os.path.realpath(folder)))


def settle(destination: Path) -> None:
    """`finish` for publishers, who hold the lock and must not go on without.

    Raises:
        OSError: the rename was refused.
    """
    if not os.path.lexists(destination) and (staged := staged_folder(destination)) is not None:
        os.rename(staged, destination)
