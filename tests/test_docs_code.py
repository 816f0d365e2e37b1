"""What pages show is run: Python on tiny models that lie where the pages say, and commands through the parser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from export_samples import save_checkpoint
from repository import ROOT

import bert_onnx
from bert_onnx.cli.main import build_parser

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/extend/*.md"))]
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

#: Pages whose blocks are run, one after the other.
RUN = (
    "README.md", "quick-start.md", "classification.md", "export.md", "families.md", "late-interaction.md",
    "runtimes.md", "sentence-transformers.md", "tokenizers.md",
)  # fmt: skip
#: Blocks that need what a test does not have, by a part of theirs, and what that is.
NOT_RUN = {
    'device="cuda"': "a GPU",
    'precision="fp32,int8"': "a model whose int8 passes its gate, as in tests/export/quantization",
}
#: Folders that pages name, and the task of the tiny model that lies there.
ARTIFACTS = {
    "artifacts/all-MiniLM-L6-v2": "sentence-similarity",
    "artifacts/reranker": "text-ranking",
    "artifacts/nli": "text-classification",
    "artifacts/colbert": "late-interaction",
    "artifacts/splade": "sparse-embedding",
}
#: What pages leave to the reader.
NAMES: dict[str, Any] = {
    "bert_onnx": bert_onnx,
    "texts": ["the cat sat .", "a dog ran ."],
    "documents": ["the cat sat .", "a dog ran ."],
    "pairs": [("the cat", "a dog ran .")],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the paths of pages lead to tiny models."""
    folder = tmp_path_factory.mktemp("pages")
    for name, task in ARTIFACTS.items():
        changes = {"id2label": {0: "entailment", 1: "neutral", 2: "contradiction"}} if name == "artifacts/nli" else {}
        checkpoint = save_checkpoint(folder / "checkpoints" / task, task, **changes)
        bert_onnx.export(checkpoint, folder / name, task=task)
    save_checkpoint(folder / "bert-base-uncased", "fill-mask")
    (folder / "export.md").mkdir()  # where nothing is in the way
    (folder / "export.md" / "bert-base-uncased").symlink_to(folder / "bert-base-uncased")
    (folder / "my-checkpoint").symlink_to(folder / "bert-base-uncased")
    (folder / "artifacts" / "mine").symlink_to(folder / "artifacts" / "all-MiniLM-L6-v2")
    (folder / "model.onnx").symlink_to(folder / "artifacts" / "all-MiniLM-L6-v2" / "onnx" / "model.onnx")
    return folder


def _blocks() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in _PYTHON.findall(page.read_text(encoding="utf-8")):
            yield page, block


@pytest.mark.parametrize("name", RUN)
def test_blocks_run_in_their_order(name: str, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places / name if (places / name).is_dir() else places)
    names, ran = dict(NAMES), 0
    for page, block in _blocks():
        if page.name == name and not any(part in block for part in NOT_RUN):
            exec(compile(block, f"{page.name}, block {ran + 1}", "exec"), names)
            ran += 1
    assert ran


def test_what_is_not_run_is_still_there() -> None:
    written = "\n".join(block for _, block in _blocks())
    for part in NOT_RUN:
        assert part in written, part


def test_every_block_is_python() -> None:
    for page, block in _blocks():
        compile(block, page.name, "exec")


def _commands(page: Path) -> list[str]:
    """Lines of code blocks, fenced or indented, that begin with `bert-onnx`, without comments and pipes."""
    lines = page.read_text(encoding="utf-8").splitlines()
    code = [re.sub(r"^( {4}|\$ )?(\.venv/bin/)?", "", line) for line in lines]
    commands = [line for line in code if re.match(r"bert-onnx [a-z]", line)]
    return [re.split(r"\s+#|\s+>|;|\s\||\s&", line)[0] for line in commands]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_understood(page: Path) -> None:
    for command in _commands(page):
        if "..." not in command and " [" not in command:  # a pattern, and no command
            build_parser().parse_args(shlex.split(command)[1:])
