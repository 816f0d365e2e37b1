"""The door: `import bert_onnx` gives load, export and optimize, lazily, with every argument in view."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repository import ROOT
from tiny_checkpoints import tiny_folder
from toy_artifacts import publish_toy, save_graph

import bert_onnx
import runtimes
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError
from export.report import no_progress
from export.request import ExportRequest, PrecisionRequest

pytestmark = pytest.mark.slow

DOOR = (bert_onnx.load, bert_onnx.export, bert_onnx.optimize)
#: What a program cannot ask for.
_OF_TESTS = {"external_data_threshold"}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_load_is_that_of_runtimes(tmp_path: Path) -> None:
    assert bert_onnx.load is runtimes.load
    with bert_onnx.load(publish_toy(tmp_path / "toy"), threads=1) as model:
        assert model.embed(["hello"]).shape == (1, 4)
        assert model.folder == tmp_path / "toy"
        assert (model.request.threads, model.request.variant, model.request.text_input) == (1, None, False)


@pytest.mark.parametrize("function", DOOR, ids=lambda function: function.__name__)
def test_every_argument_is_explained(function: Callable[..., Any]) -> None:
    assert function.__doc__ is not None
    explained = re.findall(r"^        (\w+): ", function.__doc__.partition("Args:")[2], re.MULTILINE)
    parameters = inspect.signature(function).parameters.values()
    assert [parameter.name for parameter in parameters] == explained[: len(parameters)]
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters)
    assert "Raises:" in function.__doc__


def test_editors_see_every_lazy_name() -> None:
    """But for the classes of other families, which a table names: to editors they are of any type."""
    tree = ast.parse((ROOT / "bert_onnx" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name: module for name, module in bert_onnx._LAZY.items() if name not in bert_onnx.FAMILY_CLASSES}
    assert {"load", "export", "optimize"} <= set(bert_onnx.__all__)


def test_the_door_and_the_package_of_the_same_name_keep_apart() -> None:
    assert (
        run(
            "import bert_onnx\nfunction = bert_onnx.export\nimport export.targets\nimport bert_onnx.cli.export\n"
            "assert bert_onnx.export is function and callable(function)\n"
            "print(type(export).__name__, bert_onnx.cli.export.__name__)"
        )
        == "module bert_onnx.cli.export"
    )


HEAVY = "{'torch', 'onnx', 'onnx_ir', 'onnxscript', 'onnxruntime', 'transformers'} & set(sys.modules)"


@pytest.mark.parametrize(
    "call",
    [
        "bert_onnx.export, bert_onnx.load, bert_onnx.optimize",
        "refused(bert_onnx.export, 'sample', targets=('toaster',))",
        "refused(bert_onnx.export, 'sample', precision='int7')",
        "refused(bert_onnx.export, '')",
        "refused(bert_onnx.optimize, 'in.onnx', 'out.onnx', 'toaster')",
    ],
)
def test_a_wrong_argument_is_refused_before_torch_is_imported(call: str) -> None:
    program = (
        "import sys, bert_onnx\n"
        "def refused(function, *positional, **named):\n"
        "    try:\n        function(*positional, **named)\n"
        "    except bert_onnx.UsageError:\n        return\n"
        "    raise AssertionError('it was not refused')\n"
    )
    assert run(f"{program}{call}\nprint(sorted({HEAVY}))") == "[]"


def test_export_makes_the_request_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("export.check.check_export", lambda request: None)
    monkeypatch.setattr("export.pipeline.export", lambda *arguments, checked: asked.append(arguments))
    bert_onnx.export("sample")
    assert asked.pop() == (ExportRequest("sample"), no_progress)
    texts = tmp_path / "texts.txt"
    texts.write_text("one\n", encoding="utf-8")
    changed: dict[str, Any] = {
        "task": "sentence-similarity", "targets": ("ort-cpu", "web"), "opset": 18, "revision": "main", "offline": True,
        "pooling": "cls", "normalize": False, "output_attentions": True, "output_hidden_states": True,
        "postprocess": True, "text_input": True, "random_seed": 3, "allow_new_heads": True, "check_each_pass": True,
        "force": True, "strict_weights": True,
    }  # fmt: skip
    precision: dict[str, Any] = {
        "method": "static", "isas": ("avx2", "arm64"), "calibration": str(texts), "evaluation": str(texts),
        "budget": 0.9, "allow_degraded": True,
    }  # fmt: skip

    def progress(step: str, share: float) -> None:
        """Nothing to show."""

    given = {**precision, "calibration": texts, "isas": "avx2, arm64"}
    bert_onnx.export(tmp_path, tmp_path / "out", precision="fp32,int8", progress=progress, **changed, **given)
    made = PrecisionRequest(("fp32", "int8"), **precision)
    request = ExportRequest(str(tmp_path), output=str(tmp_path / "out"), precision=made, **changed)
    assert asked == [(request, progress)]
    offered = set(inspect.signature(bert_onnx.export).parameters) - {"progress", "precision"}
    known = {field.name for field in (*fields(ExportRequest), *fields(PrecisionRequest))}
    assert offered == known - {"precision", "precisions"} - _OF_TESTS
    assert offered == {"model", "output", *changed, *precision}


def test_an_artifact_is_exported_and_loaded(tmp_path: Path) -> None:
    checkpoint = tiny_folder(tmp_path / "checkpoint", bert_onnx.BertModel)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmno"]
    (checkpoint / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    report = bert_onnx.export(checkpoint, tmp_path / "artifact", task="feature-extraction")
    assert report.artifact.folder == tmp_path / "artifact"
    with bert_onnx.load(report.artifact.folder, threads=1) as model:
        (result,) = model("a b")
    assert result.tokens == ("[CLS]", "a", "b", "[SEP]")
    assert np.isfinite(result.vectors).all()
    with pytest.raises(ArtifactError, match="exists"):
        bert_onnx.export(checkpoint, tmp_path / "artifact", task="feature-extraction")


def test_optimize_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("export.external_graph.optimize.optimize", lambda *given, **named: asked.append((given, named)))
    graph = save_graph(tmp_path / "in.onnx")
    bert_onnx.optimize(graph, str(tmp_path / "out.onnx"))
    bert_onnx.optimize(str(graph), tmp_path / "out.onnx", "ort-cpu", heads=2, hidden=4, opset=18)
    files = (graph, tmp_path / "out.onnx")
    assert asked == [
        ((*files, "portable"), {"heads": None, "hidden": None, "opset": None}),
        ((*files, "ort-cpu"), {"heads": 2, "hidden": 4, "opset": 18}),
    ]


def test_without_the_exporters_packages_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, checked: Any) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("export.check.check_export", lambda request: None)
    monkeypatch.setattr("export.pipeline.export", fail)
    with pytest.raises(RuntimeUnavailableError, match=r"torch is not installed; install it with pip install"):
        bert_onnx.export("sample")
