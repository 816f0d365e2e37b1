"""The parts of a job: each is a file that is there completely or not at all, so that a killed job can go on.

Beside the output lies a folder `OUTPUT.parts`: `job.json` says what the job is, `part-00000000.npz` holds vectors and
their lines, and which lines are broken. It goes when the output is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import filelock
import numpy as np

from bert_onnx.errors import StorageError, UsageError
from runtimes.embed_files.rows import Rows
from runtimes.text_files import Broken

_JOB = "job.json"
_LOCK = "lock"
#: Arrays of Rows that only some models make.
_OPTIONAL = ("counts", "indices")


@dataclass(frozen=True)
class Job:
    """What makes two jobs the same: otherwise their parts must not be put together.

    Args:
        input_sha256: of the input file.
        column: where the texts are.
        manifest_sha256: of the artifact.
        variant, runtime, precision: what computes.
        prompt: what stands before each text.
        width: values of a vector.
        queries: the texts are queries of late interaction.
    """

    input_sha256: str
    column: str | None
    manifest_sha256: str
    variant: str
    runtime: str
    precision: str
    prompt: str = ""
    width: int | None = None
    queries: bool = False


@dataclass(frozen=True)
class Part:
    """Rows of n texts with the lines [n] that they belong to, the broken lines among them, and how many items of the
    input, broken ones included, the part covers."""

    rows: Rows
    lines: np.ndarray
    broken: tuple[Broken, ...]
    items: int


class Parts:
    """The folder of a job that this process has to itself, as a context manager."""

    def __init__(self, folder: Path, job: Job, resume: bool) -> None:
        self.folder = folder
        self._job = job
        self._resume = resume
        self._lock = filelock.FileLock(folder / _LOCK)

    def __enter__(self) -> Parts:
        """Make the folder, or take up the one that is there.

        Raises:
            UsageError: it is there and must not be taken up, or is of another job, or another process works in it.
            StorageError: it cannot be written.
        """
        exists = self.folder.exists()
        if exists and not self._resume:
            raise UsageError(
                f"{self.folder} holds an unfinished job; go on with it by --resume, or remove it to start anew."
            )
        with _storage(self.folder):
            self.folder.mkdir(exist_ok=True)
        self._take_lock()
        try:
            self._check_job()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def names(self) -> list[Path]:
        """The complete parts, in order.

        Raises:
            StorageError: one is missing among them.
        """
        found = sorted(self.folder.glob("part-*.npz"))
        for number, path in enumerate(found):
            if path.name != _name(number):
                raise StorageError(f"{self.folder} lacks {_name(number)}; remove the folder and start anew.")
        return found

    def read(self, path: Path) -> Part:
        """One part.

        Raises:
            StorageError: it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as values:
                broken = tuple(Broken(**item) for item in json.loads(str(values["broken"])))
                rows = Rows(values["vectors"], *map(values.get, _OPTIONAL))
                return Part(rows, values["lines"], broken, int(values["items"]))
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise StorageError(f"{path} is damaged ({error}); remove {self.folder} and start anew.") from error

    def write(self, number: int, part: Part) -> None:
        """Keep a part; when this returns it survives a crash.

        Raises:
            StorageError: the disk refuses.
        """
        broken = json.dumps([asdict(item) for item in part.broken])
        path = self.folder / _name(number)
        temporary = path.with_suffix(".tmp")
        with _storage(self.folder):
            with open(temporary, "wb") as file:
                arrays = {name: getattr(part.rows, name) for name in ("vectors", *_OPTIONAL)}
                held = {name: array for name, array in arrays.items() if array is not None}
                np.savez(file, lines=part.lines, broken=np.array(broken), items=np.array(part.items), **held)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)

    def remove(self) -> None:
        """The output is written: nothing of the job is needed any more."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_job(self) -> None:
        path = self.folder / _JOB
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise StorageError(f"{path} is damaged ({error}); remove {self.folder} and start anew.") from error
            differs = [name for name, value in asdict(self._job).items() if found.get(name) != value]
            if differs:
                raise UsageError(
                    f"{self.folder} is of another job: {', '.join(differs)} differ; remove it to start anew, or give "
                    "the same input, column, artifact and options."
                )
            return
        if self.names():
            raise StorageError(f"{self.folder} has parts but no {_JOB}; remove it and start anew.")
        write_whole(path, [json.dumps(asdict(self._job), indent=1) + "\n"])

    def _take_lock(self) -> None:
        with _storage(self.folder):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise UsageError(f"another process works in {self.folder}; wait for it, or end it.") from None


def write_whole(path: Path, texts: Sequence[str] | Iterator[str]) -> None:
    """Write a text file that is there completely or not at all.

    Raises:
        StorageError: the disk refuses.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with _storage(path.parent):
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(texts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[None]:
    """Turn the system's refusals into ours."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}; what is done so far is kept, --resume goes on."
        ) from error


def _name(number: int) -> str:
    return f"part-{number:08d}.npz"
