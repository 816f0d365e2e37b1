"""What the runtimes may import, and when: an edge install has neither torch nor the exporter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

RUNTIMES = ROOT / "runtimes"
FILES = sorted(RUNTIMES.rglob("*.py"))
#: Never, not even inside a function.
FORBIDDEN = {"export", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub"}
#: Inside functions only.
LATE = {"torch", "onnxruntime", "onnxruntime_ep_openvino", "openvino", "tract", "tokenizers", "pyarrow", "fsspec"}
#: Engines that are asked for by name alone.
ENGINES = {"ray", "pyspark"}
#: The extra `server`: in its folder only.
SERVER = {"uvicorn", "uvloop", "httptools", "starlette", "prometheus_client"}
#: The libraries that adapters are for: each in its file in runtimes/integrations only.
ADAPTED = {
    "langchain_core",
    "llama_index",
    "haystack",
    "chromadb",
    "qdrant_client",
    "sklearn",
    "spacy",
    "sentence_transformers",
}
#: The one runtime that is onnx's own.
MAY_USE_ONNX = RUNTIMES / "engines" / "onnx_reference.py"


def imported(nodes: list[ast.stmt]) -> Iterator[str]:
    """Top-level names of the packages that `nodes` import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(RUNTIMES).as_posix())
def test_imports_keep_their_direction(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    allowed = {"onnx"} if path == MAY_USE_ONNX else set()
    assert not (FORBIDDEN - allowed) & set(imported(everywhere))
    assert not (LATE | allowed) & set(imported(tree.body))
    assert not ENGINES & set(imported(everywhere))
    assert RUNTIMES / "integrations" in path.parents or not ADAPTED & set(imported(everywhere))
    assert RUNTIMES / "server" in path.parents or not SERVER & set(imported(everywhere))


def test_the_scan_finds_imports() -> None:
    tree = ast.parse("import torch.nn\nfrom export.x import y\ndef f():\n    import onnx\n")
    assert set(imported(tree.body)) == {"torch", "export"}
    assert set(imported([node for node in ast.walk(tree) if isinstance(node, ast.stmt)])) == {"torch", "export", "onnx"}
    assert len(FILES) > 20
