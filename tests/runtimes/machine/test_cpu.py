"""Thread counts, on cgroup trees and topologies made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.machine import cpu
from runtimes.machine.cpu import cgroup_quota, physical_cores, usable_threads


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, "0::/a/b\n", 4.0),
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "200000 100000\n"}, "0::/a/b\n", 2.0),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "200000 100000\n"}, "0::/a/b\n", 1.0),
        ({"cpu.max": "300000 100000\n"}, "0::/host/only/path\n", 3.0),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n2:memory:/\n", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", None),
        (
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            "4:cpu,cpuacct:/x\n0::/\n",
            2.5,
        ),
        ({"cpu.max": "nonsense\n"}, "0::/\n", None),
    ],
)
def test_the_tightest_quota_counts(
    tmp_path: Path, files: dict[str, str], membership: str, expected: float | None
) -> None:
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    write(tmp_path / "self", membership)
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "self") == expected


def test_no_cgroups_means_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path, tmp_path / "missing") is None


def test_siblings_count_as_one_core(tmp_path: Path) -> None:
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        write(tmp_path / f"cpu{number}" / "topology" / "thread_siblings_list", siblings + "\n")
    assert physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert physical_cores({0, 2}, tmp_path) == 1
    assert physical_cores({0, 1}, tmp_path) == 2
    assert physical_cores({0, 1, 8}, tmp_path) == 3  # without a topology, a processor is a core


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (8.0, 4), (2.9, 2), (1.0, 1), (0.3, 1)])
def test_threads_stay_below_the_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(cpu, "physical_cores", lambda cpus, topology: 4)
    monkeypatch.setattr(cpu, "cgroup_quota", lambda root, membership: quota)
    assert usable_threads() == expected
