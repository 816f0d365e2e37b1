"""What a process is given by whoever starts it: streams that may be closed or full, and a folder that may be gone."""

from __future__ import annotations

import errno
import os
import sys

from bert_onnx.errors import BertOnnxError, StorageError, UsageError

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_closed_streams() -> None:
    """Open standard streams that are closed, to nowhere.

    Else files that are opened later would have their numbers, and what libraries print would land in those files.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends


def check_current_folder() -> None:
    """Raises UsageError where the current folder was removed: some libraries end the process there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current folder was removed; go to another one with cd.") from None


def unwritable_output(error: Exception) -> BertOnnxError | None:
    """What `error` means where standard output or error takes no more, as those have no name; else None."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _REFUSED:
        return StorageError(f"what the command prints cannot be written: {os.strerror(error.errno)}.")
    return None
