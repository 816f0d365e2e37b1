"""Hostile artifacts: names that leave the folder, links, pipes, floods. Each is an ArtifactError, and quick."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from artifact_builders import publish_small

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.contract import hashing
from bert_onnx.artifact.publish import check_destination
from bert_onnx.errors import ArtifactError

pytestmark = pytest.mark.slow

_LEAVING = [
    "../secret", "onnx/../../secret", "/etc/passwd", "//etc/passwd", "..", ".", "", "/", "onnx/", "onnx//model.onnx",
    "./config.json", "onnx/./model.onnx", "onnx\\model.onnx", "..\\secret", "C:\\secret", "C:secret", "\\\\host\\share",
    "config.json\x00.onnx", "config.json\n", "~/secret", "$HOME/x", "file:///etc/passwd", "http://host/x",
    "config.json:x", "CON", "con.json", "nul", "onnx/COM1.onnx", "config.json.", "config.json ", " config.json",
    ".git/config", "-rf", "ｃonfig.json", "config\u202e.json", "x" * 300, "a/" * 20 + "b", "%2e%2e/secret", "a/..",
    "…/secret", "\ud800",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a secret")
    return publish_small(tmp_path / "artifact")


def rewrite(folder: Path, change: Any) -> None:
    """Change the manifest the way an attacker would: consistently."""
    path = folder / "manifest.json"
    values = json.loads(path.read_bytes())
    change(values)
    path.write_text(json.dumps(values))


def refused(folder: Path, message: str | None = None) -> str:
    """Opening `folder` is refused with and without hashes, and in no time to speak of; the message."""
    for check_hashes in (False, True):
        begun = time.perf_counter()
        with pytest.raises(ArtifactError, match=message) as caught:
            Artifact.open(folder, check_hashes=check_hashes)
        assert time.perf_counter() - begun < 10
    return str(caught.value)


@pytest.mark.parametrize("name", _LEAVING)
def test_names_that_leave_the_folder(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `files`, in a variant's `file`, in its `data_file`; and nothing is read before it is refused."""
    monkeypatch.setattr(hashing, "hash_file", lambda path: pytest.fail(f"{path} was read"))
    whole = (folder / "manifest.json").read_bytes()

    def list_it(values: dict[str, Any]) -> None:
        values["files"][name] = {"sha256": "ab" * 32, "size": 8}

    def load_it(values: dict[str, Any]) -> None:
        record = values["files"].pop("onnx/model.onnx")
        values["files"][name] = record
        values["variants"][0]["file"] = name

    def load_its_data(values: dict[str, Any]) -> None:
        record = values["files"].pop("onnx/model.onnx_data")
        values["files"][name] = record
        values["variants"][0]["data_file"] = name

    def name_it_only(values: dict[str, Any]) -> None:
        values["variants"][0]["data_file"] = name

    for change in (list_it, load_it, load_its_data, name_it_only):
        rewrite(folder, change)
        refused(folder)
        (folder / "manifest.json").write_bytes(whole)


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "../artifact2/config.json"])
@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/model.onnx_data", "config.json", "README.md"])
def test_links_that_leave_the_folder(folder: Path, name: str, target: str) -> None:
    publish_small(folder.parent / "artifact2")
    (folder / name).unlink()
    (folder / name).symlink_to(
        os.path.relpath(folder.parent / target[3:], (folder / name).parent) if ".." in target else target
    )
    refused(folder, "is a link that leaves the artifact|is missing")


def test_a_folder_that_is_a_link(folder: Path) -> None:
    """All of onnx/ from elsewhere, with the very same content."""
    other = publish_small(folder.parent / "other")
    for path in (folder / "onnx").iterdir():
        path.unlink()
    (folder / "onnx").rmdir()
    (folder / "onnx").symlink_to(other / "onnx")
    refused(folder, "is a link that leaves the artifact")


def test_a_link_to_a_sibling_with_the_same_prefix(folder: Path) -> None:
    """artifact-evil is not inside artifact, whatever a comparison of texts says."""
    evil = publish_small(folder.parent / "artifact-evil")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(evil / "config.json")
    refused(folder, "is a link that leaves the artifact")


def test_links_in_a_circle(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    refused(folder)
    (folder / "config.json").unlink()
    (folder / "loop").symlink_to(".")
    refused(folder)


def test_a_manifest_that_is_a_link(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "manifest.json")
    (folder / "manifest.json").symlink_to(folder.parent / "manifest.json")
    refused(folder, r"manifest\.json is not a regular file")


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "onnx/model.onnx"])
def test_pipes_do_not_block(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "is not a regular file")


def test_the_folder_itself_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "artifact")
    done: list[str] = []
    thread = threading.Thread(
        target=lambda: done.append(refused(tmp_path / "artifact", "is not a folder")), daemon=True
    )
    thread.start()
    thread.join(10)
    assert done
    with pytest.raises(ArtifactError, match="is not a folder"):
        check_destination(tmp_path / "artifact", force=True)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
def test_devices_are_not_read(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")
    refused(folder, "is a link that leaves the artifact")
    (folder / "config.json").unlink()
    if os.geteuid() == 0:
        try:
            os.mknod(folder / "config.json", 0o020666, os.makedev(1, 5))
        except OSError as error:
            pytest.skip(f"making a device is not permitted here: {error}")
        refused(folder, "is not a regular file")


def test_folders_in_the_place_of_files(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refused(folder, "is not a regular file")


def test_swapped_tokenizer_under_an_unchanged_model(folder: Path) -> None:
    """Same length, other content: the size does not tell, the hash does."""
    content = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(content[::-1])
    with pytest.raises(ArtifactError, match=r"tokenizer\.json was changed"):
        Artifact.open(folder)


def test_two_files_exchanged(folder: Path) -> None:
    """Both hashes are in the manifest, but not for these names."""
    (folder / "tokenizer.json").rename(folder / "x")
    (folder / "1_Pooling/config.json").write_bytes(b"[]\n")
    (folder / "1_Pooling/config.json").rename(folder / "tokenizer.json")
    (folder / "x").rename(folder / "1_Pooling/config.json")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json was changed"):
        Artifact.open(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'{"schema_version": 1, "schema_version": 1}',
        b'{"schema_version": ' + b"9" * 100_000 + b"}",
        b'{"schema_version": 1e400}',
        b'"' + b"\\ud800" * 1000 + b'"',
        b"\x00" * 1000,
        b"\xef\xbb\xbf{}",
        b"{" + b",".join(b'"k%d":0' % i for i in range(200_000)) + b"}",
    ],
    ids=["arrays", "objects", "twice", "digits", "exponent", "surrogates", "zeros", "bom", "keys"],
)
def test_manifests_that_exhaust_a_parser(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    assert len(refused(folder)) < 1000


def test_a_manifest_of_many_gigabytes_is_not_read(folder: Path) -> None:
    os.truncate(folder / "manifest.json", 1 << 40)
    refused(folder, "more than any manifest needs")


def test_a_manifest_of_many_files(folder: Path) -> None:
    """20,000 listed files of which none exists: the first is named at once."""

    def flood(values: dict[str, Any]) -> None:
        values["files"].update({f"f{i}": {"sha256": "ab" * 32, "size": 1} for i in range(20_000)})

    rewrite(folder, flood)
    refused(folder, "is missing")


def test_a_claimed_size_costs_nothing(folder: Path) -> None:
    def claim(values: dict[str, Any]) -> None:
        values["files"]["config.json"]["size"] = 2**62

    rewrite(folder, claim)
    refused(folder, r"has 23 bytes but was published with 4611686018427387904")


def test_names_do_not_break_messages(folder: Path) -> None:
    """Escape sequences and newlines in a manifest stay out of the terminal."""

    def paint(values: dict[str, Any]) -> None:
        values["files"]["\x1b[31mred\n\x07"] = {"sha256": "ab" * 32, "size": 1}

    rewrite(folder, paint)
    message = refused(folder)
    assert message.isprintable()

    def paint_task(values: dict[str, Any]) -> None:
        del values["files"]["\x1b[31mred\n\x07"]
        values["task"] = "\x1b]0;owned\x07"

    def paint_variant(values: dict[str, Any]) -> None:
        values["task"] = "fill-mask"
        values["variants"][0]["data_file"] = "\x1b[31mred\n"

    for change in (paint_task, paint_variant):
        rewrite(folder, change)
        assert refused(folder).isprintable()


def test_unlisted_names_do_not_break_messages(folder: Path) -> None:
    (folder / "\x1b[31mred\n").write_text("x")
    assert refused(folder).isprintable()
