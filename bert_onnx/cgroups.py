"""The cgroups that this process is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def cgroups_above(membership: Path, controller: str) -> Iterator[tuple[str, list[str]]]:
    """Each hierarchy that has `controller`: its controllers, and the process's group with all groups above it.

    Inside a container the path may be the host's: then the root of the mount is the container's own group.

    Args:
        membership: /proc/self/cgroup: lines `0::/path` (v2, whose controllers are "") or `4:cpu,cpuacct:/path` (v1).
        controller: such as `cpu` or `memory`.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or controller in controllers.split(","):
            yield controllers, [path, *(str(parent) for parent in Path(path).parents)]
