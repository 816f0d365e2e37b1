"""The house: bert_onnx imports neither export nor runtimes but to call them, and its torch-free part loads no torch."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.slow

FILES = sorted((ROOT / "bert_onnx").rglob("*.py"))
#: The command line and the door call both, inside functions.
MAY_CALL_BOTH = {*(ROOT / "bert_onnx" / "cli").glob("*.py"), ROOT / "bert_onnx" / "api.py"}


def _imports(nodes: list[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def _typing_only(tree: ast.Module) -> set[ast.AST]:
    """Nodes under `if TYPE_CHECKING:`, which never run."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for inner in ast.walk(block)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_bert_onnx_imports_neither_of_the_others(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = _typing_only(tree)
    at_top = _imports([node for node in tree.body if node not in skipped])
    anywhere = _imports([node for node in ast.walk(tree) if node not in skipped])
    found = at_top if path in MAY_CALL_BOTH else anywhere
    assert not found & {"export", "runtimes", "transformers"}
    assert len(FILES) > 50


@pytest.mark.parametrize(
    "module",
    ["bert_onnx", "bert_onnx.config", "bert_onnx.tasks", "bert_onnx.tokenization", "bert_onnx.artifact",
     "bert_onnx.checkpoint", "bert_onnx.onnx_wire", "bert_onnx.cli.main", "bert_onnx.cli.render", "runtimes"],
)  # fmt: skip
def test_the_torch_free_part_loads_no_torch(module: str) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "transformers")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_files_do_not_import_each_other_in_a_circle() -> None:
    """Neither for types alone: such files are one file, or lack a third."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        named = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
        graph[name] = ({node.module for node in found if node.module} | named) & modules.keys() - {name}
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    graphlib.TopologicalSorter({name: graph[name] - packages for name in graph.keys() - packages}).prepare()
