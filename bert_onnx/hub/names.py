"""What may be the name of a model on a hub, or of a revision of one."""

from __future__ import annotations

import re

from bert_onnx.errors import UsageError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


def is_hub_id(name: str) -> bool:
    """Whether `name` may be `owner/name`, or `name` alone."""
    return bool(_ID.fullmatch(name)) and not name.endswith((".", "-")) and ".." not in name and "--" not in name


def check_revision(revision: str | None) -> None:
    """Raises UsageError where `revision` cannot be a branch, a tag or a commit."""
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"revision {revision!r} is not the name of a branch, a tag or a commit.")
