"""A folder at any address that fsspec knows: listed, read, written so that a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bert_onnx.errors import InputError, RuntimeUnavailableError, StorageError, UsageError
from runtimes.scale.client_errors import is_refusal, reason_of
from runtimes.scale.folders import walk

#: Where files are written before they get their names, in folders that can rename.
ASIDE = "_aside"
_CHUNK = 1 << 20


class Store:
    """The folder, or the one file, at `address`. Names are relative to it, with slashes.

    Raises:
        UsageError: fsspec knows no such protocol.
        RuntimeUnavailableError: fsspec or the library of the protocol is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            import fsspec

            self._fs, self._root = fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise RuntimeUnavailableError(
                f'{address} needs a library that is not installed ({error}); pip install "bert-onnx[remote]" brings '
                "fsspec and s3fs."
            ) from None
        except ValueError as error:
            raise UsageError(f"{address} is no address that fsspec can open: {error}.") from None
        self.local = "file" in _protocols(self._fs)
        self._made: set[str] = set()

    def files(self, suffixes: tuple[str, ...], pattern: str = "") -> list[str]:
        """Names that end so, in order; names that begin with _ or . are left out, as other readers do.

        Args:
            pattern: with *, ? or [: of files, and of folders whose files count; empty for all.

        Raises:
            InputError: the address cannot be listed, or there is nothing.
        """
        with self._reading(self.address):
            self._fs.invalidate_cache()
            if self._fs.isfile(self._root):
                return [""] if self._root.lower().endswith(suffixes) else []
            if not self._fs.isdir(self._root):
                raise InputError(f"{self.address} does not exist.")
            matches = self._fs.glob(self._path(pattern)) if pattern else [self._root]
            found = {self._relative(path) for match in matches for path in self._below(match)}
        hidden = ("_", ".")
        return sorted(
            name
            for name in found
            if name.lower().endswith(suffixes)
            and not any(part.startswith(hidden) for part in PurePosixPath(name).parts)
        )

    def _below(self, path: str) -> Iterable[str]:
        """The file `path`, or every file in or below it."""
        if not self._fs.isdir(path):
            return [path]
        return walk(path) if self.local else self._fs.find(path)

    def names(self, folder: str = "") -> set[str]:
        """Every file in or below `folder`; none where it does not exist."""
        with self._reading(f"{self.address}/{folder}"):
            self._fs.invalidate_cache()
            path = self._path(folder)
            return {self._relative(found) for found in self._fs.find(path)} if self._fs.exists(path) else set()

    def exists(self) -> bool:
        """Whether anything is at the address."""
        with self._reading(self.address):
            return bool(self._fs.exists(self._root))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """The file `name`, to be read. Raises InputError."""
        with self._reading(self.show(name)), self._fs.open(self._path(name), "rb") as file:
            yield file

    def fingerprint(self, name: str) -> str:
        """What changes with the content of `name`: its sha256 on this machine's disks, else what the store says, such
        as an ETag."""
        with self._reading(self.show(name)):
            if not self.local:
                return str(self._fs.ukey(self._path(name)))
            digest = hashlib.sha256()
            with self._fs.open(self._path(name), "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            return digest.hexdigest()

    def read_json(self, names: list[str]) -> dict[str, Any]:
        """By name; what is missing, or was cut off while it was written, is left out."""
        paths = {self._path(name): name for name in names}
        with self._reading(self.address):
            self._fs.invalidate_cache()
            found = self._fs.cat(list(paths), on_error="omit") if paths else {}
        values = {}
        for path, content in found.items():
            with contextlib.suppress(ValueError):
                values[paths[path]] = json.loads(content)
        return values

    def write_json(self, name: str, value: Any) -> None:
        """Write a small file. Raises StorageError."""
        self.write(name, (json.dumps(value, indent=1) + "\n").encode())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all where the store can do so. Raises StorageError."""
        with self.writing(name) as path:
            path.write_bytes(content)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path on this machine whose file becomes `name` when the block ends without an error.

        On this machine's disks it is renamed; elsewhere it is sent, which object stores do whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        with self._writing(self.show(name)):
            folder = Path(self._root, ASIDE) if self.local else Path(tempfile.gettempdir())
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f"{PurePosixPath(name).name}.{uuid.uuid4().hex}"
        try:
            yield aside
            with self._writing(self.show(name)):
                self._place(aside, self._path(name))
        finally:
            aside.unlink(missing_ok=True)

    def _place(self, aside: Path, path: str) -> None:
        if not self.local:
            folder = str(PurePosixPath(path).parent)
            if folder not in self._made:
                self._fs.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            self._fs.put_file(str(aside), path)
            return
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.replace(aside, path)

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it, if it is there. Raises StorageError."""
        with self._writing(self.show(name)), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._path(name), recursive=True)

    def show(self, name: str) -> str:
        """The address of `name`."""
        return f"{self.address.rstrip('/')}/{name}" if name else self.address

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _relative(self, path: str) -> str:
        return path[len(self._root) :].lstrip("/")

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_refusal(error):
                raise
            raise InputError(f"{what} cannot be read: {reason_of(error)}.") from error

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_refusal(error):
                raise
            raise StorageError(
                f"{what} cannot be written: {reason_of(error)}; what is done so far is kept, --resume goes on."
            ) from error


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
