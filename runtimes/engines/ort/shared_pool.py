"""One pool of threads for all ONNX Runtime sessions of a process, for servers that hold many models.

Each session has a pool of its own otherwise, whose idle threads spin and take time from the others. ONNX Runtime
allows one or the other: once there is a shared pool, every session of the process, also one that other code opens,
must use it (`SessionOptions.use_per_session_threads = False`).
"""

from __future__ import annotations

import threading

from bert_onnx.errors import UsageError
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.machine.cpu import usable_threads

_lock = threading.Lock()
_threads: int | None = None
_opened = False


def share_threads(threads: int | None = None) -> int:
    """From now on, let all sessions of this process compute on one pool; returns its size.

    Args:
        threads: how many; None takes what affinity and the cgroup quota allow.

    Raises:
        UsageError: a session was opened before, or the pool has another size already.
        RuntimeUnavailableError: onnxruntime is not installed.
    """
    global _threads
    size = threads or usable_threads()
    with _lock:
        if _threads == size:
            return size
        if _threads is not None:
            raise UsageError(f"the shared pool has {_threads} threads; its size cannot change to {size}.")
        if _opened:
            raise UsageError("a session with threads of its own is open; call share_threads before the first load.")
        import_onnxruntime().set_global_thread_pool_sizes(size, 1)
        _threads = size
    return size


def pool_for_session() -> int | None:
    """Size of the shared pool that a new session must use; None where it gets threads of its own."""
    global _opened
    with _lock:
        _opened = True
        return _threads
