"""Publishing to a disk that refuses: one sentence, the old artifact untouched, no litter."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_helpers import (
    KILLED,
    at_step,
    in_child,
    kill_self,
    no_fsync,
    publish_small,
    tiny_disk,
    version_at,
    versioned,
    way,
)

from bert_onnx.artifact.publish import check_destination, staging_folder
from bert_onnx.errors import ArtifactError, StorageError

__all__ = ["no_fsync", "tiny_disk", "way"]  # fixtures

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_refusal_at_every_step(tmp_path: Path, way: str, number: int) -> None:
    """The operating system refuses once, at each step in turn."""
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))
    struck = tmp_path / "struck"
    step, refused = 0, 0
    while True:

        def work(step: int = step) -> None:
            def refuse(path: object) -> None:
                os.mkfifo(struck)  # the parent sees it; the hook does not see it
                raise OSError(number, os.strerror(number), path)

            at_step(step, refuse)
            publish_small(destination, force=True, files=versioned(2))

        status = in_child(work)
        assert status in (0, 20), f"step {step}"
        if not struck.exists():
            assert status == 0
            break
        struck.unlink()
        refused += status == 20
        assert version_at(destination) == (2 if status == 0 else 1), f"step {step}"
        publish_small(destination, force=True, files=versioned(1))
        assert os.listdir(tmp_path) == ["artifact"], f"litter after step {step}"
        step += 1
    assert refused > 15


def test_full_disk_by_bytes(tiny_disk: Callable[[str], Path], way: str) -> None:
    """A real disk of 1 MiB: the old artifact takes a fifth of it, the new one runs out of space a page later each."""
    disk = tiny_disk("size=1m")
    destination = disk / "artifact"
    publish_small(destination, files=versioned(1, 40_000))
    outcomes = []
    for size in (*range(105_000, 175_000, 2_500), 1_000_000):
        try:
            publish_small(destination, force=True, files=versioned(2, size))
        except StorageError as error:
            outcomes.append(str(error))
            assert version_at(destination) == 1
        else:
            outcomes.append("")
            assert version_at(destination) == 2
            shutil.rmtree(destination)
            publish_small(destination, files=versioned(1, 40_000))
        assert os.listdir(disk) == ["artifact"]
    assert outcomes[0] == ""
    assert sum(f"cannot write {destination}" in text and "the disk is full" in text for text in outcomes) >= 5
    assert outcomes.count("") >= 5


def test_full_disk_at_every_file(tiny_disk: Callable[[str], Path], way: str) -> None:
    """Real disks with room for a few files more than the old artifact: each in turn is the one that fails."""
    reasons, published = [], 0
    for inodes in range(14, 30):
        disk = tiny_disk(f"size=1m,nr_inodes={inodes}")
        destination = disk / "artifact"
        publish_small(destination, files=versioned(1))
        try:
            publish_small(destination, force=True, files=versioned(2))
        except StorageError as error:
            reasons.append(str(error))
            assert version_at(destination) == 1
        else:
            assert version_at(destination) == 2
            published += 1
        assert os.listdir(disk) == ["artifact"]
    assert len(reasons) >= 8
    assert all("the disk is full" in reason for reason in reasons)
    assert published >= 2


def test_space_is_asked_for_before_the_work(tiny_disk: Callable[[str], Path]) -> None:
    disk = tiny_disk("size=1m")
    with pytest.raises(StorageError, match="2,000,000 bytes are needed"), staging_folder(disk / "a", needed=2_000_000):
        pytest.fail("the work was begun")
    assert os.listdir(disk) == []


def test_leftovers_of_the_dead_make_room(tiny_disk: Callable[[str], Path]) -> None:
    """A killed export that filled the disk does not keep the next one from its space."""
    disk = tiny_disk("size=1m")
    destination = disk / "artifact"

    def fill_and_die() -> None:
        with staging_folder(destination) as stage:
            (stage / "big").write_bytes(bytes(900_000))
            kill_self(None)

    assert in_child(fill_and_die) == KILLED
    assert len(os.listdir(disk)) == 1
    publish_small(destination, files=versioned(1, 100_000))
    assert os.listdir(disk) == ["artifact"]


def test_read_only_disk(tiny_disk: Callable[[str], Path]) -> None:
    disk = tiny_disk("size=1m")
    destination = disk / "artifact"
    publish_small(destination, files=versioned(1))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="read-only"):
        publish_small(destination, force=True, files=versioned(2))
    with pytest.raises(StorageError, match="read-only"):
        publish_small(disk / "new" / "artifact", files=versioned(2))
    assert version_at(destination) == 1


def test_mount_point_is_refused_at_the_start(tiny_disk: Callable[[str], Path]) -> None:
    disk = tiny_disk("size=1m")
    with pytest.raises(ArtifactError, match="mount point"):
        check_destination(disk, force=True)


def test_file_size_limit(tmp_path: Path) -> None:
    """EFBIG from the kernel, in a process that may write no more than 20 kB to a file."""
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        publish_small(destination, force=True, files=versioned(2, 50_000))

    assert in_child(work) == 20
    assert version_at(destination) == 1
    assert os.listdir(tmp_path) == ["artifact"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_permission_denied() -> None:
    """A user who may read the artifact but not write beside it."""
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which no other user may enter
        parent = Path(name)
        parent.chmod(0o755)
        destination = parent / "artifact"
        publish_small(destination, files=versioned(1))

        def as_nobody(work: Callable[[], object]) -> int:
            def drop_and_work() -> None:
                os.setuid(65534)
                work()

            return in_child(drop_and_work)

        assert as_nobody(lambda: version_at(destination)) == 0
        assert as_nobody(lambda: publish_small(destination, force=True, files=versioned(2))) == 20
        assert version_at(destination) == 1
        assert os.listdir(parent) == ["artifact"]


def test_a_writer_that_reports_no_error_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy reports a full disk by an OSError without errno; the free space then decides."""
    from bert_onnx.artifact.publish import storage

    destination = tmp_path / "artifact"
    with pytest.raises(OSError, match="written") as plain, staging_folder(destination):
        raise OSError("1000 requested and 0 written")
    assert not isinstance(plain.value, StorageError)
    monkeypatch.setattr(storage, "free_bytes", lambda folder: 4096)
    with pytest.raises(StorageError, match="full"), staging_folder(destination):
        raise OSError("1000 requested and 0 written")
    assert os.listdir(tmp_path) == []
