"""`bert-onnx push`: what a hub has afterwards, what is refused. Against a stand-in server that takes uploads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hub_server import Fault, HubServer, Repository
from toy_artifacts import publish_toy, table

import bert_onnx
from bert_onnx.artifact.hub.pushing import push
from bert_onnx.cli.main import main
from bert_onnx.errors import ArtifactError, HubError, UsageError
from bert_onnx.hub.errors import PUBLISH, explain

NEW = "somebody/new"


@pytest.fixture
def logged_in(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return hub


def content(hub: HubServer, model: str = NEW, revision: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[model]
    return repository.commits[repository.names[revision]]


def test_what_was_pushed_is_the_artifact_and_opens(
    logged_in: HubServer, artifact: Path, files: dict[str, bytes]
) -> None:
    pushed = push(artifact, NEW)
    assert content(logged_in) == {".gitattributes": b"*.onnx filter=lfs\n", **files}
    assert (pushed.model, pushed.files, pushed.commit) == (NEW, len(files), logged_in.repositories[NEW].names["main"])
    assert any(line.startswith("PUT /lfs/") for line in logged_in.requests)  # graphs go by their sha256
    assert not logged_in.repositories[NEW].private
    bert_onnx.load(NEW, revision=pushed.commit).close()


def test_a_second_push_takes_away_what_the_first_brought(logged_in: HubServer, artifact: Path, tmp_path: Path) -> None:
    push(artifact, NEW)
    repository = logged_in.repositories[NEW]
    repository.commits[repository.names["main"]]["notes.txt"] = b"mine"
    other = publish_toy(tmp_path / "other", table() * 2, names=("model", "model_other"))
    push(other, NEW)
    assert {"notes.txt", "onnx/model_other.onnx"} <= content(logged_in).keys()
    assert "onnx/model_double.onnx" not in content(logged_in)
    assert push(other, NEW).commit  # again: nothing to upload, and no error


def test_private_and_branches(logged_in: HubServer, artifact: Path) -> None:
    push(artifact, NEW, private=True, revision="int8")
    assert logged_in.repositories[NEW].private
    assert content(logged_in).keys() == {".gitattributes"}
    assert "manifest.json" in content(logged_in, revision="int8")
    bert_onnx.load(NEW, revision="int8").close()


def test_other_files_are_not_overwritten(logged_in: HubServer, artifact: Path) -> None:
    checkpoint = {"README.md": b"# mine", "config.json": b"{}", "model.safetensors": b"x"}
    logged_in.repositories["o/checkpoint"] = Repository.of(dict(checkpoint))
    with pytest.raises(HubError, match=r"o/checkpoint holds config\.json, which no artifact has put there"):
        push(artifact, "o/checkpoint")
    logged_in.repositories["o/app"] = Repository.of({"manifest.json": b"[]"})
    with pytest.raises(HubError, match=r"manifest\.json of o/app is not an artifact's"):
        push(artifact, "o/app")
    assert content(logged_in, "o/checkpoint") == checkpoint


def test_a_damaged_artifact_is_not_pushed(logged_in: HubServer, artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(artifact, folder)
    with open(folder / "onnx" / "model.onnx", "r+b") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        push(folder, NEW)
    with pytest.raises(ArtifactError, match="does not exist"):
        push(tmp_path / "none", NEW)
    assert logged_in.requests == []


@pytest.mark.parametrize("name", ["alone", "a/b/c", "../a", "a/b c", ""])
def test_names_that_cannot_be(name: str, logged_in: HubServer, artifact: Path) -> None:
    with pytest.raises(UsageError, match="give owner/name"):
        push(artifact, name)
    with pytest.raises(UsageError, match="not the name of a branch"):
        push(artifact, NEW, revision="a b")
    assert logged_in.requests == []


def test_without_a_token_and_offline(hub: HubServer, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="hf auth login"):
        push(artifact, NEW)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(artifact, NEW)


@pytest.mark.parametrize("pattern", ["POST /api/repos/create", "PUT /lfs/", "POST .*/commit/"])
def test_a_hub_that_fails_publishes_nothing(pattern: str, logged_in: HubServer, artifact: Path) -> None:
    logged_in.faults.append(Fault(pattern, status=403))
    with pytest.raises(HubError, match=r"refuses access to somebody/new \(HTTP 403\)") as caught:
        push(artifact, NEW)
    assert "\n" not in str(caught.value)
    assert NEW not in logged_in.repositories or content(logged_in).keys() == {".gitattributes"}


def test_no_network(logged_in: HubServer, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(HubError, match=r"cannot be published; check the network; nothing was published"):
        push(artifact, NEW)


def test_what_the_store_of_large_files_raises_is_one_sentence() -> None:
    """hf_xet, which sends large files since huggingface_hub 1, raises Python's own ConnectionError."""
    error = explain(ConnectionError("Network error: 404 Not Found, domain: http://x"), NEW, None, False, PUBLISH)
    assert str(error).startswith(f"the hub cannot be reached, so {NEW} cannot be published; check the network")


def test_somebody_else_pushed_meanwhile(logged_in: HubServer, artifact: Path) -> None:
    logged_in.faults.append(Fault("POST .*/commit/", status=412))
    with pytest.raises(HubError, match="HTTP 412"):
        push(artifact, NEW)


def test_the_command(logged_in: HubServer, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(artifact), NEW, "--private"]) == 0
    assert f'bert_onnx.load("{NEW}")' in capsys.readouterr().out
    assert main(["push", str(artifact), "alone"]) == 2
    assert main(["push", str(artifact.parent), NEW]) == 8
