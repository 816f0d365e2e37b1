"""The command line: what it prints for people and programs, and one clear sentence for every wrong input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from export_samples import save_checkpoint

from bert_onnx.cli import main as cli
from bert_onnx.errors import EXIT_STATUS, BertOnnxError, exit_status

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and its artifact."""
    folder = tmp_path_factory.mktemp("cli")
    save_checkpoint(folder / "checkpoint", "fill-mask")
    assert cli.main(["export", str(folder / "checkpoint"), "--output", str(folder / "artifact")]) == 0
    return folder


def _run(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    status = cli.main([str(item) for item in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def _refused(capsys: pytest.CaptureFixture[str], status: int, *argv: str | Path) -> str:
    """The one line on standard error of a command that must end with `status`."""
    found, out, err = _run(capsys, *argv)
    assert found == status, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("bert-onnx: error: ")
    assert err.count("\n") == 1
    return err


def test_every_error_class_has_a_status_of_its_own() -> None:
    classes = {one for one in BertOnnxError.__subclasses__() if one.__module__ == BertOnnxError.__module__}
    assert set(EXIT_STATUS) == classes
    assert len(set(EXIT_STATUS.values())) == len(EXIT_STATUS)
    assert exit_status(ValueError()) == 1


def test_export_prints_the_folder_and_the_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, "export", folder / "checkpoint", "--output", folder / "artifact", "--force")
    assert status == 0
    assert str(folder / "artifact") in out
    for word in ("fill-mask", "input_ids int64 [batch_size, sequence_length]", "portable", "opset", "pass (8 cases)"):
        assert word in out
    assert err == ""


def test_export_json_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "export", folder / "checkpoint", "--output", folder / "artifact", "--force", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["manifest"]["variants"][0]["parity"]["verdict"] == "pass"
    assert report["manifest"] == json.loads((folder / "artifact" / "manifest.json").read_text())


def test_verify_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "verify", folder / "artifact", "--checkpoint", folder / "checkpoint")
    assert status == 0
    assert "every file has the sha256" in out
    assert "logits" in out
    status, out, _ = _run(capsys, "verify", folder / "artifact", "--checkpoint", folder / "checkpoint", "--json")
    assert json.loads(out)["passed"] is True


def test_quiet_prints_nothing_but_json_and_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = ("verify", folder / "artifact", "--checkpoint", folder / "checkpoint", "--quiet")
    assert _run(capsys, *quiet) == (0, "", "")
    status, out, _ = _run(capsys, *quiet, "--json")
    assert status == 0
    assert json.loads(out)
    _refused(capsys, 8, "tune", folder / "checkpoint", "--quiet")


def test_verify_refuses_other_weights(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = save_checkpoint(tmp_path / "other", "fill-mask", initializer_range=0.1)
    message = _refused(capsys, 3, "verify", folder / "artifact", "--checkpoint", other)
    assert "are not those that" in message


def test_verify_says_that_the_folder_moved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--checkpoint" in _refused(capsys, 5, "verify", folder / "artifact")


def test_inspect_artifact_and_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "inspect", folder / "artifact")
    assert status == 0
    assert "onnx/model.onnx" in out
    status, out, _ = _run(capsys, "inspect", folder / "artifact" / "onnx" / "model.onnx")
    assert status == 0
    assert "LayerNormalization" in out
    status, out, _ = _run(capsys, "inspect", folder / "artifact" / "onnx" / "model.onnx", "--json")
    graph = onnx.load(folder / "artifact" / "onnx" / "model.onnx")
    assert json.loads(out)["nodes"] == len(graph.graph.node)


def test_run_for_people_and_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "run", folder / "artifact", "the cat sat on the [MASK] .")
    assert status == 0
    assert "score" in out
    status, out, _ = _run(capsys, "run", folder / "artifact", "the [MASK] sat", "a [MASK]", "--json", "--top-k", "3")
    assert status == 0
    assert len(json.loads(out)) == 2


def test_unknown_options_end_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["export"], ["export", "sample", "--opset", "x"], ["frobnicate"], ["export", "sample", "--frob"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(argv)
        assert caught.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("export", "sample", "--task", "translation"), 2, "task 'translation' is unknown; choose auto or one of"),
        (("export", "sample", "--opset", "16"), 2, "opset 16 is out of range"),
        (("export", "sample", "--target", "toaster"), 2, "target 'toaster' is unknown"),
        (("export", "sample", "--random-weights", "-1"), 2, "is not a seed"),
        (("export", "", "--force"), 2, "MODEL is empty"),
        (("export", "sample", "--task", "fill-mask", "--pooling", "cls"), 2, "have no meaning for fill-mask"),
        (("export", "sample", "--revision", "main", "--output", "{new}"), 2, "revision"),
        (("export", "sample", "--task", "fill-mask", "--output", "{new}"), 5, "cls.predictions"),
        (("export", "{empty}", "--output", "{new}"), 4, "has no config.json"),
        (("export", "{deberta}", "--output", "{new}"), 4, "deberta-v2"),
        (("export", "{pickle}", "--output", "{new}"), 5, "bert-onnx convert-weights"),
        (("export", "{vocabulary}", "--output", "{new}"), 6, "40"),
        (("export", "{checkpoint}", "--output", "{artifact}"), 8, "exists; choose another output folder"),
        (("export", "{checkpoint}", "--output", "{checkpoint}", "--force"), 8, "not an artifact"),
        (("export", "{checkpoint}/config.json", "--output", "{new}"), None, "config.json"),
        (("run", "{empty}", "x"), 8, "manifest.json"),
        (("run", "{artifact}", "no mask here"), 7, "[MASK]"),
        (("run", "{artifact}", "the [MASK]", "--pair", "x"), 2, "--pair has no meaning"),
        (("run", "{artifact}", "the [MASK]", "--threads", "0"), 2, "threads"),
        (("inspect", "{empty}"), 8, "manifest.json"),
        (("inspect", "{empty}/missing.onnx"), 8, "does not exist"),
        (("inspect", "{pickle}/broken.onnx"), 8, "cannot be read as an ONNX graph"),
        (("verify", "{empty}"), 8, "manifest.json"),
        (("convert-weights", "{empty}"), 5, "pytorch_model.bin"),
    ],
)
def test_wrong_input_gets_one_sentence(
    argv: tuple[str, ...],
    status: int | None,
    words: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {name: tmp_path / name for name in ("empty", "deberta", "pickle", "vocabulary", "new")}
    for name in ("empty", "deberta", "pickle"):
        places[name].mkdir()
    (places["deberta"] / "config.json").write_text('{"model_type": "deberta-v2"}')
    shutil.copy(folder / "checkpoint" / "config.json", places["pickle"])
    (places["pickle"] / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    (places["pickle"] / "broken.onnx").write_bytes(b"this is not a graph")
    save_checkpoint(places["vocabulary"], "fill-mask")
    (places["vocabulary"] / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(60))])
    )
    places |= {"checkpoint": folder / "checkpoint", "artifact": folder / "artifact"}
    filled = [item.format(**places) for item in argv]
    message = _refused(capsys, status, *filled) if status else _run(capsys, *filled)[2]
    assert words in message
    assert not places["new"].exists()


def test_a_changed_file_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(folder / "artifact", copy)
    vocabulary = copy / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text().replace("cat", "dat"))
    assert "vocab.txt" in _refused(capsys, 8, "run", copy, "the [MASK]")
    assert "vocab.txt" in _refused(capsys, 8, "inspect", copy)


def test_a_damaged_manifest_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(folder / "artifact", copy)
    (copy / "manifest.json").write_text((copy / "manifest.json").read_text()[:-40])
    assert "manifest.json" in _refused(capsys, 8, "run", copy, "the [MASK]")


def test_unforeseen_errors_show_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("runtimes.run_once.predict", fail)
    status, _, err = _run(capsys, "run", "x", "y")
    assert status == 1
    assert "unforeseen KeyError" in err
    assert "Traceback" not in err


def test_help_and_version_load_nothing_heavy() -> None:
    code = "import sys; from bert_onnx.cli.main import build_parser; build_parser(); "
    code += "print([m for m in sys.modules if m in "
    code += "('torch', 'onnx', 'onnxruntime', 'numpy', 'tokenizers', 'transformers', 'rich', 'huggingface_hub')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_run_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from bert_onnx.cli.main import main; status = main(['run', sys.argv[1], 'the [MASK]', '--json']); "
        "print(status, [m for m in sys.modules if m in ('torch', 'onnx', 'transformers', 'huggingface_hub', 'rich')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder / "artifact")], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("package", ["torch", "onnx_ir"])
def test_a_package_that_only_exports_need(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    def missing(arguments: object) -> None:
        raise ModuleNotFoundError(f"No module named '{package}.x'", name=f"{package}.x")

    monkeypatch.setattr("bert_onnx.cli.inspect._inspect", missing)
    error = _refused(capsys, 11, "inspect", folder / "artifact")
    assert f'{package} is not installed; install it with pip install "bert-onnx[export]"' in error
