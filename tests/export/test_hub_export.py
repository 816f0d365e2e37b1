"""`bert-onnx export bert-base-uncased --task fill-mask` from a hub: the whole way, against a stand-in on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from export_samples import WORDS, tiny_config
from hub_server import BERT, COMMIT, HubServer, Repository
from safetensors.torch import save_file

import bert_onnx
from bert_onnx.artifact import Artifact
from bert_onnx.cli import main as cli

pytestmark = pytest.mark.slow


def _published_in_2018(folder: Path) -> dict[str, bytes]:
    """A repository as the first BERT's: all pretraining heads, LayerNorms with gamma and beta, a pickle beside it."""
    config = tiny_config("fill-mask")
    torch.manual_seed(0)
    model = bert_onnx.BertForPreTraining(config)
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("cls.predictions.decoder")
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"pytorch_model.bin": b"a pickle", "README.md": b"# BERT"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:  # type: ignore[misc]
    repository = tmp_path / "repository"
    repository.mkdir()
    with HubServer({BERT: Repository.of(_published_in_2018(repository))}) as running:
        running.use(monkeypatch, tmp_path / "cache")
        yield running


def test_export_by_name_then_offline_then_verify(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "artifact")
    command = ["export", "bert-base-uncased", "--task", "fill-mask", "--output", output]
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    assert "cls.seq_relationship" in captured.err  # the other heads are left out, and that is said
    source = Artifact.open(output).manifest.source
    assert (source.model, source.kind, source.revision) == (BERT, "hub", COMMIT)
    assert not any(name.endswith((".bin", "README.md")) for name in hub.downloads())

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    first = (Path(output) / "onnx" / "model.onnx").read_bytes()
    assert cli.main([*command, "--offline", "--force"]) == 0
    assert (Path(output) / "onnx" / "model.onnx").read_bytes() == first
    assert cli.main(["verify", output, "--offline"]) == 0
    capsys.readouterr()
    assert cli.main([*command, "--force"]) == 9
    assert "--offline" in capsys.readouterr().err
    assert Artifact.open(output).manifest.source == source


def test_an_unknown_model_is_refused_and_nothing_is_left(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    assert cli.main(["export", "nobody/nothing", "--output", str(tmp_path / "artifact")]) == 9
    assert "nobody/nothing" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} - before <= {"cache"}
