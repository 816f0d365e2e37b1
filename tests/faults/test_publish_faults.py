"""Publishing under attack by kill -9, full disks and concurrent readers: always the old artifact or the new one."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "artifact"))

from artifact_builders import FILES, fill, make_manifest, publish_small, versioned

from bert_onnx.artifact import Artifact, check_destination, publish, publishing, seal, staging_folder
from bert_onnx.artifact.exchange import ExchangeUnsupportedError
from bert_onnx.errors import ArtifactError, BertOnnxError, StorageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")

_KILLED = -signal.SIGKILL
_CHANGING_EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def refuse_exchange(first: Path, second: Path) -> None:
    raise ExchangeUnsupportedError("injected")


@pytest.fixture(params=["exchange", "journal"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a folder."""
    if request.param == "journal":
        monkeypatch.setattr(publishing, "exchange", refuse_exchange)
    return str(request.param)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote, synced or not, and a thousand fsyncs take a minute.

    That everything is synced in time is tested in tests/artifact/test_publishing.py.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def at_step(number: int, strike: Callable[[object], None]) -> None:
    """Call `strike` at the `number`-th thing that this process does to the disk (from 0). For forked children.

    Things are seen by an audit hook, which cannot be taken out again; fsync and exchange have none and are wrapped.
    `strike` gets the path that is opened or made, else None.
    """
    seen = -1

    def step(path: object = None) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            strike(path)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _CHANGING_EVENTS:
            step(arguments[0] if event == "os.mkdir" else None)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            step(arguments[0])

    real_exchange = publishing.exchange

    def fsync(descriptor: int) -> None:
        step()

    def exchange(first: Path, second: Path) -> None:
        step()
        real_exchange(first, second)

    os.fsync = fsync
    publishing.exchange = exchange
    sys.addaudithook(hook)


def start_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BertOnnxError as error:
        os._exit(20 if isinstance(error, StorageError) else 21)
    except BaseException:
        traceback.print_exc()
        os._exit(99)


def end_of(child: int) -> int:
    """Exit status of the process `child`, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its exit status, negative for a signal."""
    return end_of(start_child(work))


def kill_self(path: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def version_at(folder: Path) -> int:
    """The version of the complete artifact at `folder`; files of two versions, or half of one, fail the test."""
    artifact = Artifact.open(folder)
    contents = {(folder / name).read_bytes()[:1] for name in FILES}
    assert len(contents) == 1
    assert set(artifact.manifest.files) == {*FILES, "README.md"}
    return contents.pop()[0]


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
        assert status in (0, _KILLED)
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
        assert status in (0, _KILLED)
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
    step, status = 0, _KILLED
    while status == _KILLED:

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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_refusal_at_every_step(tmp_path: Path, way: str, number: int) -> None:
    """The operating system refuses once, at each step in turn."""
    destination = tmp_path / "artifact"
    publish_small(destination, files=versioned(1))
    struck = tmp_path / "struck"
    step, refused = 0, 0
    while True:

        def work(step: int = step) -> None:
            def refuse(path: object) -> None:
                os.mkfifo(struck)  # tells the parent; the hook does not see it
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


def test_readers_see_whole_artifacts_during_replacements(tmp_path: Path, way: str) -> None:
    """Two reader processes open without pause while 100 artifacts are published over each other."""
    destination, stop = tmp_path / "artifact", tmp_path / "stop"
    publish_small(destination, files=versioned(0))

    def read() -> None:
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
        assert count > 20
        assert len(seen) > 5

    readers = [start_child(read) for _ in range(2)]
    try:
        for version in range(1, 101):
            publish_small(destination, force=True, files=versioned(version))
    finally:
        stop.touch()
        statuses = [end_of(reader) for reader in readers]
    assert statuses == [0, 0]
    assert version_at(destination) == 100


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


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with the options given, where this user may; else the test is skipped, and says so."""
    mounts: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"disk{len(mounts)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command here; test_file_size_limit covers a full disk")
        if done.returncode:
            pytest.skip(f"mounting is not permitted here ({done.stderr.strip()}); test_file_size_limit covers it")
        mounts.append(point)
        return point

    yield mount
    for point in mounts:
        subprocess.run(["umount", "-l", str(point)], check=True)


def test_full_disk_by_bytes(tiny_disk: Callable[[str], Path], way: str) -> None:
    """A real disk of 1 MiB: the old artifact takes a fifth of it, the new one runs out of space a page later each."""
    disk = tiny_disk("size=1m")
    destination = disk / "artifact"
    publish_small(destination, files=versioned(1, 40_000))
    outcomes = []
    for size in (*range(150_000, 175_000, 1_000), 1_000_000):
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

    assert in_child(fill_and_die) == _KILLED
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
    """numpy tells of a full disk by an OSError without errno; the free space then decides."""
    from bert_onnx.artifact import storage

    destination = tmp_path / "artifact"
    with pytest.raises(OSError, match="written") as plain, staging_folder(destination):
        raise OSError("1000 requested and 0 written")
    assert not isinstance(plain.value, StorageError)
    monkeypatch.setattr(storage, "free_bytes", lambda folder: 4096)
    with pytest.raises(StorageError, match="full"), staging_folder(destination):
        raise OSError("1000 requested and 0 written")
    assert os.listdir(tmp_path) == []


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

    assert in_child(die_between) == _KILLED
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
    from bert_onnx.artifact import locking

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
