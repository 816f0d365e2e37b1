"""Publishing under kill -9 and concurrent readers and writers: always the old artifact or the new one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from fault_helpers import (
    FILES,
    KILLED,
    at_step,
    end_of,
    fill,
    in_child,
    kill_self,
    make_manifest,
    no_fsync,
    publish_small,
    refuse_exchange,
    start_child,
    version_at,
    versioned,
    way,
)

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import publish, publishing, seal, staging_folder
from bert_onnx.errors import ArtifactError, StorageError

__all__ = ["no_fsync", "way"]  # fixtures

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")]


def test_kill_at_every_step_of_a_replacement(tmp_path: Path, way: str) -> None:
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))
    step, outcomes = 0, set()
    while True:
        old, new = version_at(destination), (step % 100) + 100

        def work(step: int = step, new: int = new) -> None:
            at_step(step, kill_self)
            publish_small(destination, force=True, files=versioned(new))

        status = in_child(work)
        assert status in (0, KILLED)
        found = version_at(destination)
        assert found in (old, new)
        outcomes.add(found == new)
        if status == 0:
            assert found == new
            break
        publish_small(destination, force=True, files=versioned(step % 100))
        assert version_at(destination) == step % 100
        assert os.listdir(tmp_path) == ["artifact"], f"litter after step {step}"
        step += 1
    assert step > 40, "the steps were not seen"
    assert outcomes == {True, False}


def test_kill_at_every_step_of_a_first_publication(tmp_path: Path) -> None:
    step, outcomes = 0, set()
    while True:
        parent = tmp_path / str(step)
        parent.mkdir()
        destination = parent / "artifact"

        def work(step: int = step, destination: Path = destination) -> None:
            at_step(step, kill_self)
            publish_small(destination, files=versioned(7))

        status = in_child(work)
        assert status in (0, KILLED)
        there = destination.exists()
        outcomes.add(there)
        if there:
            assert version_at(destination) == 7
        else:
            with pytest.raises(ArtifactError, match="does not exist"):
                Artifact.open(destination)
        if status == 0:
            assert there
            break
        publish_small(destination, force=True, files=versioned(8))
        assert version_at(destination) == 8
        assert os.listdir(parent) == ["artifact"]
        step += 1
    assert step > 30
    assert outcomes == {True, False}


def test_next_publisher_comes_first_after_every_kill(tmp_path: Path, way: str) -> None:
    """No reader tidies up in between: the next publication finds exactly what the dead one left."""
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))
    step, status = 0, KILLED
    while status == KILLED:

        def work(step: int = step) -> None:
            at_step(step, kill_self)
            publish_small(destination, force=True, files=versioned(2))

        status = in_child(work)
        with pytest.raises(ArtifactError, match="--force"):
            publish_small(destination, files=versioned(3))
        publish_small(destination, force=True, files=versioned(4))
        assert os.listdir(tmp_path) == ["artifact"]
        assert version_at(destination) == 4
        step += 1
    assert status == 0
    assert step > 40


def test_readers_see_whole_artifacts_during_replacements(tmp_path: Path, way: str) -> None:
    """Two reader processes open without pause while artifacts are published, until both have seen enough."""
    destination, stop = tmp_path / "artifact", tmp_path / "stop"
    content = tmp_path / "content"
    content.mkdir()
    publish_small(destination, files=versioned(0))

    def read(number: int) -> None:
        count, seen = 0, set()
        while not stop.exists():
            artifact = Artifact.open(destination)
            count += 1
            try:
                contents = {(destination / name).read_bytes()[:1] for name in FILES}
            except FileNotFoundError:
                assert not artifact.is_current()
                continue
            if artifact.is_current():
                assert len(contents) == 1
                seen |= contents
            if count > 20 and len(seen) > 5:
                (content / str(number)).touch()

    readers = [start_child(lambda number=number: read(number)) for number in range(2)]  # type: ignore[misc]
    version, deadline = 0, time.monotonic() + 120
    try:
        while version < 40 or (len(os.listdir(content)) < len(readers) and time.monotonic() < deadline):
            version += 1
            publish_small(destination, force=True, files=versioned(version % 100))
    finally:
        stop.touch()
        statuses = [end_of(reader) for reader in readers]
    assert statuses == [0, 0]
    assert len(os.listdir(content)) == len(readers), "a reader saw too little"
    assert version_at(destination) == version % 100


def test_writers_side_by_side_replace_each_other(tmp_path: Path, way: str) -> None:
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(0))

    def write(version: int) -> None:
        for _ in range(10):
            publish_small(destination, force=True, files=versioned(version))

    writers = [start_child(lambda version=version: write(version)) for version in (1, 2, 3)]  # type: ignore[misc]
    assert [end_of(writer) for writer in writers] == [0, 0, 0]
    assert version_at(destination) in (1, 2, 3)
    assert os.listdir(tmp_path) == ["artifact"]


def test_of_two_first_publications_one_is_refused(tmp_path: Path) -> None:
    destination = tmp_path / "artifact"

    def write(version: int) -> None:
        publish_small(destination, files=versioned(version))

    for _ in range(10):
        writers = [start_child(lambda version=version: write(version)) for version in (1, 2)]  # type: ignore[misc]
        statuses = [end_of(writer) for writer in writers]
        assert sorted(statuses) == [0, 21]
        assert version_at(destination) == (1 if statuses[0] == 0 else 2)
        assert os.listdir(tmp_path) == ["artifact"]
        shutil.rmtree(destination)


def test_reader_between_the_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher died there: the reader does the second rename; one that may not write reads all the same."""
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))

    def die_between() -> None:
        publishing.exchange = refuse_exchange
        real_rename = os.rename

        def rename(source: Path, target: Path) -> None:
            real_rename(source, target)
            if str(target).endswith(".old"):
                kill_self(None)

        os.rename = rename  # type: ignore[assignment]
        publish_small(destination, force=True, files=versioned(2))

    assert in_child(die_between) == KILLED
    assert not destination.exists()
    with monkeypatch.context() as patch:

        def denied(source: object, target: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        patch.setattr(os, "rename", denied)
        artifact = Artifact.open(destination)
        assert (artifact.folder / "config.json").read_bytes()[:1] == b"\x02"
        with pytest.raises(StorageError, match="permission denied"):
            publish_small(destination, force=True, files=versioned(3))
    assert version_at(destination) == 2
    publish_small(destination, force=True, files=versioned(3))
    assert os.listdir(tmp_path) == ["artifact"]


def test_waiting_for_a_publisher_and_for_a_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is held makes others wait and, at length, give up; the lock of a dead process does neither."""
    from bert_onnx.artifact.publish import locking

    destination, held = tmp_path / "artifact", tmp_path / "held"

    def hold() -> None:
        with locking.publishing_lock(tmp_path / ".artifact.lock"):
            held.touch()
            time.sleep(60)

    holder = start_child(hold)
    while not held.exists():
        time.sleep(0.01)
    monkeypatch.setattr(locking, "WAIT_SECONDS", 0.2)
    try:
        with pytest.raises(ArtifactError, match="another export"):
            publish_small(destination)
        assert not destination.exists()
    finally:
        os.kill(holder, signal.SIGKILL)
        end_of(holder)
    assert (tmp_path / ".artifact.lock").exists()
    begun = time.monotonic()
    publish_small(destination)
    assert time.monotonic() - begun < 5
    assert sorted(os.listdir(tmp_path)) == ["artifact", "held"]


def test_staging_of_the_living_is_left_alone(tmp_path: Path) -> None:
    destination = tmp_path / "artifact"
    with staging_folder(destination) as stage:
        fill(stage, versioned(1))
        publish_small(destination, files=versioned(2))
        assert stage.is_dir()
        seal(stage, make_manifest())
        publish(stage, destination, force=True)
    assert version_at(destination) == 1
    assert os.listdir(tmp_path) == ["artifact"]
