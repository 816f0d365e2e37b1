"""Other tools that open an artifact: optimum and transformers.js, asked for what the head itself returns."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compatibility.libraries import MASKED, TEXTS, Library
from benchmarks.measure import REPOSITORY

#: What the tools read: a masked token, so that a model that fills masks has one, and other texts.
RAW_TEXTS = (MASKED[0], *TEXTS)
_OPEN = Path(__file__).with_name("open.mjs")
#: transformers.js is installed for the examples.
_PACKAGES = REPOSITORY / "examples" / "node_modules"


def ask_transformers(folder: Path, library: Library) -> np.ndarray:
    """First output of the head for each of `RAW_TEXTS`, one behind the other [N]."""
    import torch
    import transformers

    model = getattr(transformers, str(library.auto_class)).from_pretrained(folder).eval()
    with torch.no_grad():
        return _first_outputs(folder, model)


def ask_optimum(folder: Path, library: Library) -> np.ndarray:
    """The same from the portable graph of an artifact."""
    from optimum import onnxruntime

    opened = getattr(onnxruntime, str(library.ort_class)).from_pretrained(
        str(folder), subfolder="onnx", file_name="model.onnx", provider="CPUExecutionProvider"
    )
    return _first_outputs(folder, opened)


def _first_outputs(folder: Path, model: Any) -> np.ndarray:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in RAW_TEXTS:
        output = model(**tokenizer(text, truncation=True, return_tensors="pt"))
        rows.append(np.asarray(output[0]).reshape(-1))
    return np.concatenate(rows)


def ask_transformers_js(artifacts: Mapping[str, tuple[Path, Library]]) -> dict[str, np.ndarray | str] | None:
    """The same from transformers.js in Node, for artifacts by name; a text says why one could not be opened.

    None where Node or transformers.js is not installed.
    """
    node = shutil.which("node")
    if node is None or not _PACKAGES.exists():
        return None
    jobs = [
        {"name": name, "folder": str(folder), "auto": library.auto_class, "texts": list(RAW_TEXTS)}
        for name, (folder, library) in artifacts.items()
    ]
    command = [node, "--input-type=module", "-"]
    program = f"const jobs = {json.dumps(jobs)};\n" + _OPEN.read_text(encoding="utf-8")
    done = subprocess.run(command, input=program, cwd=_PACKAGES.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: _read(found) for name, found in json.loads(done.stdout.splitlines()[-1]).items()}


def _read(found: str | Sequence[float]) -> np.ndarray | str:
    return found if isinstance(found, str) else np.array(found)
