"""Opening: every file is compared with the manifest, every difference is named."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest
from artifact_builders import FILES, make_manifest, make_variant, publish_small, versioned

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.contract.hashing import hash_file, hash_files
from bert_onnx.errors import ArtifactError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_small(tmp_path / "artifact")


def test_opens_what_was_published(folder: Path) -> None:
    artifact = Artifact.open(folder)
    assert artifact.folder == folder
    assert artifact.manifest.task == "sentence-similarity"
    assert artifact.manifest_sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert set(artifact.manifest.files) == {*FILES, "README.md"}
    for name, record in artifact.manifest.files.items():
        content = (folder / name).read_bytes()
        assert (record.sha256, record.size) == (hashlib.sha256(content).hexdigest(), len(content))


def test_opens_by_text_by_relative_path_and_through_a_link(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    link.symlink_to("artifact")
    monkeypatch.chdir(tmp_path)
    expected = Artifact.open(folder).manifest
    for name in (str(folder), "artifact", "current", link):
        assert Artifact.open(name).manifest == expected


def test_paths_of_variants(tmp_path: Path) -> None:
    files = {**FILES, "onnx/model_int8.onnx": b"small", "onnx/model_int8.onnx_data": b"data"}
    manifest = make_manifest(variants=(make_variant(), make_variant("model_int8")))
    artifact = Artifact.open(publish_small(tmp_path / "artifact", files=files, manifest=manifest))
    assert artifact.path() == artifact.folder / "onnx/model.onnx"
    assert artifact.path("model_int8") == artifact.folder / "onnx/model_int8.onnx"
    assert artifact.path(artifact.variant("model_int8")) == artifact.path("model_int8")
    assert artifact.variant("model_int8").size_bytes == len(b"small" + b"data")
    with pytest.raises(ArtifactError, match="model_int4"):
        artifact.path("model_int4")


def test_missing_folder_file_and_plain_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere does not exist; name a folder"):
        Artifact.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="is not a folder"):
        Artifact.open(tmp_path / "file")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ArtifactError, match=r"has no manifest\.json, so it is not an artifact"):
        Artifact.open(tmp_path / "plain")


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_each_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    for check_hashes in (True, False):
        with pytest.raises(ArtifactError, match=f"{name} is missing"):
            Artifact.open(folder, check_hashes=check_hashes)


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_each_changed_bit_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        Artifact.open(folder)
    assert Artifact.open(folder, check_hashes=False).folder == folder


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_each_changed_length_is_found_without_hashes(folder: Path, name: str) -> None:
    with open(folder / name, "ab") as file:
        file.write(b"\n")
    with pytest.raises(ArtifactError, match=f"{name} has .* bytes but was published with"):
        Artifact.open(folder, check_hashes=False)


@pytest.mark.parametrize(
    "name",
    [
        "onnx/model_int8.onnx", "onnx/readme.txt", "model.safetensors", "pytorch_model.bin", "added_tokens.json",
        "modeling_bert.py", "openvino/openvino_model.xml", "1_Pooling/more.json", ".hidden", "sub/.git/config",
        "onnx/.cache/x",
    ],
)  # fmt: skip
def test_unlisted_files_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(ArtifactError, match=f"holds {name}, which its manifest does not list"):
        Artifact.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        ".gitattributes", ".gitignore", ".DS_Store", "onnx/.DS_Store", "Thumbs.db", "desktop.ini", "NOTES.md",
        "onnx/._model.onnx", ".git/config", ".git/objects/ab/cd", ".cache/huggingface/x.lock", ".nfs0001",
    ],
)  # fmt: skip
def test_droppings_are_let_be(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert Artifact.open(folder).folder == folder


def test_unlisted_links_to_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "openvino").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="holds openvino"):
        Artifact.open(folder)


def test_damaged_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for text in (b"", b"{", b"[]", b"null", whole[: len(whole) // 2], b"\xff" + whole, whole.decode().encode("utf-16")):
        path.write_bytes(text)
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            Artifact.open(folder)


def test_is_current_until_replaced(folder: Path) -> None:
    artifact = Artifact.open(folder)
    assert artifact.is_current()
    publish_small(folder, force=True)
    assert artifact.is_current(), "the same content was published again"
    publish_small(folder, force=True, files=versioned(1))
    assert not artifact.is_current()
    shutil.rmtree(folder)
    assert not artifact.is_current()


def test_replacement_while_hashing_opens_the_new_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.artifact.contract import checks

    replaced = []

    def replace_then_hash(paths: list[Path], threads: int | None) -> object:
        if not replaced:
            replaced.append(publish_small(folder, force=True, files=versioned(9)))
        return hash_files(paths, threads)

    monkeypatch.setattr(checks, "hash_files", replace_then_hash)
    artifact = Artifact.open(folder)
    assert replaced
    assert artifact.is_current()
    assert artifact.path().read_bytes()[:1] == b"\x09"


def test_replacement_without_end_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.artifact.contract import checks, opening

    count = 0

    def replace_then_hash(paths: list[Path], threads: int | None) -> object:
        nonlocal count
        count += 1
        publish_small(folder, force=True, files=versioned(count))
        return hash_files(paths, threads)

    monkeypatch.setattr(checks, "hash_files", replace_then_hash)
    monkeypatch.setattr(opening, "_ATTEMPTS", 3)
    monkeypatch.setattr(opening, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(ArtifactError, match="replaced faster than it can be opened"):
        Artifact.open(folder)
    assert count == 3


def test_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.artifact.contract import checks

    def fail(paths: list[Path], threads: int | None) -> object:
        raise PermissionError(13, "Permission denied", str(paths[0]))

    monkeypatch.setattr(checks, "hash_files", fail)
    with pytest.raises(ArtifactError, match="cannot be read: Permission denied"):
        Artifact.open(folder)


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
def test_hashes_do_not_depend_on_threads(tmp_path: Path, threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.artifact.contract import hashing

    monkeypatch.setattr(hashing, "_WORTH_A_THREAD", 100)
    names = []
    real = hash_file

    def recorded(path: Path) -> object:
        names.append(threading.current_thread().name)
        return real(path)

    monkeypatch.setattr(hashing, "hash_file", recorded)
    paths = []
    for size in (0, 1, 99, 5000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20):
        paths.append(tmp_path / str(size))
        paths[-1].write_bytes(os.urandom(size))
    records = hash_files(paths, threads)
    for path in paths:
        content = path.read_bytes()
        assert (records[path].sha256, records[path].size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert len(names) == len(paths)
    assert threads != 1 or set(names) == {threading.current_thread().name}


def test_an_error_in_a_hashing_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.artifact.contract import hashing

    monkeypatch.setattr(hashing, "_WORTH_A_THREAD", 0)

    def fail(path: Path) -> object:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(hashing, "hash_file", fail)
    for n in range(4):
        (tmp_path / str(n)).write_bytes(b"x")
    with pytest.raises(OSError, match="Input/output"):
        hash_files(list(tmp_path.iterdir()), 3)
