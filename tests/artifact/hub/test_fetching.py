"""Artifacts loaded by `owner/name`: what is downloaded, what is not, and what is said. Against a stand-in server."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, OLD_COMMIT, Fault, HubServer, Repository
from toy_artifacts import publish_toy, table

import bert_onnx
from bert_onnx.artifact import Artifact
from bert_onnx.artifact.hub.fetching import find_artifact
from bert_onnx.cli.main import main
from bert_onnx.errors import ArtifactError, HubError, UsageError

TOY = "somebody/toy"
BASE = ["README.md", "config.json", "manifest.json", "vocab.txt"]


def test_only_the_graph_that_is_opened_is_downloaded(hub: HubServer, artifact: Path) -> None:
    with bert_onnx.load(TOY) as model, bert_onnx.load(artifact) as local:
        assert hub.downloads() == sorted([*BASE, "onnx/model.onnx"])
        np.testing.assert_array_equal(model.embed(["hello world"]), local.embed(["hello world"]))
    hub.requests.clear()
    with bert_onnx.load(TOY, variant="model_double"):
        assert hub.downloads() == ["onnx/model_double.onnx"]


def test_offline_nothing_is_asked_and_a_graph_that_the_cache_lacks_is_named(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubError, match=r"there is no folder somebody/toy here, and .* not in the local cache"):
        bert_onnx.load(TOY, offline=True)
    bert_onnx.load(TOY).close()
    hub.requests.clear()
    bert_onnx.load(TOY, offline=True).close()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bert_onnx.load(TOY).close()
    with pytest.raises(HubError, match=r"lacks onnx/model_double\.onnx of somebody/toy; run once without --offline"):
        bert_onnx.load(TOY, variant="model_double")
    with pytest.raises(HubError, match=r"lacks onnx/model_double\.onnx"):
        find_artifact(TOY, whole=True)
    assert hub.requests == []


def test_a_pickled_model_opens_again_and_a_second_graph_is_fetched_from_its_folder(hub: HubServer) -> None:
    with bert_onnx.load(TOY) as model:
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.embed(["night"]), model.embed(["night"]))
        again.close()
        bert_onnx.load(model.folder, variant="model_double").close()
    assert "onnx/model_double.onnx" in hub.downloads()


def test_revisions(hub: HubServer, files: dict[str, bytes], tmp_path: Path) -> None:
    old = publish_toy(tmp_path / "old", table() * 3)
    before = {p.relative_to(old).as_posix(): p.read_bytes() for p in old.rglob("*") if p.is_file()}
    hub.repositories[TOY] = Repository({COMMIT: files, OLD_COMMIT: before}, {"main": COMMIT, "v1": OLD_COMMIT})
    with bert_onnx.load(TOY) as new, bert_onnx.load(TOY, revision="v1") as model:
        assert not np.array_equal(model.embed(["hello"]), new.embed(["hello"]))
    assert find_artifact(TOY, OLD_COMMIT, offline=True).name == OLD_COMMIT
    with pytest.raises(HubError, match="no revision 'v9'"):
        bert_onnx.load(TOY, revision="v9")
    with pytest.raises(UsageError, match="not the name of a branch"):
        bert_onnx.load(TOY, revision="../x")


def test_a_local_folder_wins(hub: HubServer, files: dict[str, bytes], tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.chdir(tmp_path)  # type: ignore[attr-defined]
    publish_toy(tmp_path / TOY)
    bert_onnx.load(TOY).close()
    with pytest.raises(UsageError, match="fits artifacts on a hub only"):
        bert_onnx.load(TOY, revision="main")
    assert hub.requests == []


@pytest.mark.parametrize("name", ["toy", "./somebody/toy", "/somebody/toy", "a/b/c", "", "a/../b"])
def test_what_cannot_be_a_name_is_a_folder(hub: HubServer, name: str) -> None:
    with pytest.raises(ArtifactError):
        bert_onnx.load(name)
    with pytest.raises(ArtifactError, match="does not exist"):
        bert_onnx.load(Path(TOY))
    assert hub.requests == []


@pytest.mark.parametrize("manifest", [None, b'{"name": "an app"}', b"\xff"])
def test_a_repository_without_an_artifact(hub: HubServer, files: dict[str, bytes], manifest: bytes | None) -> None:
    others = {"config.json": b"{}", "model.safetensors": b"x", **({"manifest.json": manifest} if manifest else {})}
    hub.repositories["o/checkpoint"] = Repository.of(others)
    with pytest.raises(HubError, match=r"o/checkpoint holds no artifact.*`bert-onnx export o/checkpoint`"):
        bert_onnx.load("o/checkpoint")
    assert set(hub.downloads()) <= {"manifest.json"}


def test_files_beside_an_artifact_are_neither_fetched_nor_in_the_way(hub: HubServer, files: dict[str, bytes]) -> None:
    hub.repositories["o/both"] = Repository.of({**files, "model.safetensors": b"x", "evil.py": b"x"})
    bert_onnx.load("o/both").close()
    assert not {"model.safetensors", "evil.py"} & set(hub.downloads())


def test_private_repositories_need_a_token(
    hub: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["o/private"] = Repository.of(files, private=True)
    with pytest.raises(HubError, match=r"no model o/private, or it is private.*HF_TOKEN"):
        bert_onnx.load("o/private")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    bert_onnx.load("o/private").close()


def test_contents_are_compared_with_the_manifest(hub: HubServer, files: dict[str, bytes]) -> None:
    graph = bytearray(files["onnx/model.onnx"])
    graph[-1] ^= 1
    hub.repositories["o/changed"] = Repository.of({**files, "onnx/model.onnx": bytes(graph)})
    with pytest.raises(ArtifactError, match="sha256 differs"):
        bert_onnx.load("o/changed")
    hub.repositories["o/vocab"] = Repository.of({**files, "vocab.txt": files["vocab.txt"].upper()})
    with pytest.raises(ArtifactError, match=r"vocab\.txt was changed"):
        bert_onnx.load("o/vocab")
    hub.repositories["o/lacks"] = Repository.of({n: c for n, c in files.items() if n != "vocab.txt"})
    with pytest.raises(ArtifactError, match=r"vocab\.txt is missing"):
        bert_onnx.load("o/lacks")
    hub.repositories["o/graph"] = Repository.of({n: c for n, c in files.items() if n != "onnx/model.onnx"})
    with pytest.raises(HubError, match=r"lacks onnx/model\.onnx"):
        bert_onnx.load("o/graph")


def test_a_hub_that_fails(hub: HubServer) -> None:
    hub.faults.append(Fault("GET /api/models", status=403))
    with pytest.raises(HubError, match="refuses access"):
        bert_onnx.load(TOY)


def test_commands_take_names(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", TOY, "hello world", "--json"]) == 0
    texts = tmp_path / "texts.txt"
    texts.write_text("hello\nworld\n")
    assert main(["embed", TOY, str(texts), str(tmp_path / "vectors.npy"), "--offline"]) == 0
    assert np.load(tmp_path / "vectors.npy").shape == (2, 4)
    assert main(["inspect", TOY]) == 0  # it takes all graphs
    assert "onnx/model_double.onnx" in hub.downloads()
    assert main(["run", TOY, "hello", "--revision", "v9"]) == 9
    assert main(["run", "nobody/nothing", "hello"]) == 9
    assert "there is no folder nobody/nothing here" in capsys.readouterr().err


def test_a_partial_folder_is_whole_only_with_all_graphs(hub: HubServer) -> None:
    folder = find_artifact(TOY)
    with pytest.raises(ArtifactError, match="is missing"):
        Artifact.open(folder)
    assert Artifact.open(find_artifact(TOY, whole=True)).folder == folder
