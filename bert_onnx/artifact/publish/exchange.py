"""Exchanging two folders in one step, where the operating system can."""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS sys/stdio.h
_AT_FDCWD = -100
#: renameat2 by machine, for C libraries that do not wrap it.
_SYSCALLS = {"x86_64": 316, "aarch64": 276, "arm64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}

#: Error numbers that mean "not here" rather than "not now".
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class ExchangeUnsupportedError(Exception):
    """This system or file system cannot exchange two folders."""


def exchange(first: Path, second: Path) -> None:
    """Let `first` and `second`, both existing and on one file system, take each other's name in one step.

    Raises:
        ExchangeUnsupportedError: the system or file system cannot.
        OSError: it can, but refuses here.
    """
    call = _system_call()
    if call is None:
        raise ExchangeUnsupportedError(sys.platform)
    error = call(os.fsencode(first), os.fsencode(second))
    if error in _UNSUPPORTED:
        raise ExchangeUnsupportedError(os.strerror(error))
    if error:
        raise OSError(error, os.strerror(error), str(first), None, str(second))


def _system_call() -> Callable[[bytes, bytes], int] | None:
    """A function of two paths that returns 0 or an error number; None where there is no such call."""
    if sys.platform not in ("linux", "darwin"):
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def checked(function: Any, *arguments: Any) -> int:
        return 0 if function(*arguments) == 0 else ctypes.get_errno()

    if sys.platform == "darwin":
        swap = getattr(libc, "renamex_np", None)
        flags = ctypes.c_uint(_RENAME_SWAP)
        return None if swap is None else lambda first, second: checked(swap, first, second, flags)
    here, flags = ctypes.c_int(_AT_FDCWD), ctypes.c_uint(_RENAME_EXCHANGE)
    wrapped = getattr(libc, "renameat2", None)
    if wrapped is not None:
        return lambda first, second: checked(wrapped, here, first, here, second, flags)
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        return None
    raw = ctypes.c_long(number)
    return lambda first, second: checked(libc.syscall, raw, here, first, here, second, flags)
