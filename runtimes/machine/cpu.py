"""How many threads this process should use: affinity, physical cores and the cgroup's quota."""

from __future__ import annotations

import os
from pathlib import Path

from bert_onnx.cgroups import cgroups_above

_CGROUPS = Path("/sys/fs/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_threads() -> int:
    """Threads that compute at full speed here: physical cores of the affinity mask, no more than the quota.

    A quota that is not whole is rounded down: one thread too many makes all of them wait for the next period.
    """
    cores = physical_cores(allowed_cpus(), _TOPOLOGY)
    quota = cgroup_quota(_CGROUPS, Path("/proc/self/cgroup"))
    return cores if quota is None else max(1, min(cores, int(quota)))


def allowed_cpus() -> set[int]:
    """Processors that the scheduler may place this process on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(cpus: set[int], topology: Path) -> int:
    """Distinct physical cores among `cpus`; each processor counts as one where the topology is not readable."""
    siblings = set()
    for cpu in cpus:
        try:
            siblings.add((topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip())
        except OSError:
            siblings.add(f"cpu{cpu}")
    return max(1, len(siblings))


def cgroup_quota(root: Path, membership: Path) -> float | None:
    """Processors that the tightest cgroup (v2 or v1) above this process allows; None without a limit.

    `membership` is /proc/self/cgroup.
    """
    quotas = []
    for controllers, folders in cgroups_above(membership, "cpu"):
        for base in (root, root / controllers, root / "cpu") if controllers else (root, root / "unified"):
            quotas += [_quota(base / folder.lstrip("/")) for folder in folders]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
            return None if limit == "max" else int(limit) / int(period)
        limit = (folder / "cpu.cfs_quota_us").read_text()
        return int(limit) / int((folder / "cpu.cfs_period_us").read_text()) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
