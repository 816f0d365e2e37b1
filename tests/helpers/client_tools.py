"""What the tests of clients share: where things lie, reading an artifact's JSON, spoiling its test vectors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
from repository import ROOT

from runtimes.machine.processor import this_processor

EXAMPLES = ROOT / "examples"
#: Set by `make clients`, which has installed every tool: one that is missing is a failure then, not a reason to skip.
REQUIRED_VARIABLE = "BERT_ONNX_CLIENTS_REQUIRED"
#: Where screenshots go, for a person to look at; without it none are taken.
SCREENSHOTS = "BERT_ONNX_SCREENSHOTS"

#: What clients are held to: the largest difference in fp32; in other precisions the mean and the least of the cosines
#: with what Python gives of the same file. A value that is rounded the other way can move one text by some 5e-4.
LARGEST_DIFFERENCE = 1e-4
MEAN_COSINE, LEAST_COSINE = 0.9995, 0.998


def read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of an artifact."""
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def spoil(document: dict[str, Any]) -> None:
    """Change one number of every answer in a vectors.json by more than a client may differ."""
    case = document["cases"][0]
    case["outputs"]["sentence_embedding"]["values"][5] += 1e-3
    for outputs in case["variants"].values():
        outputs["sentence_embedding"]["values"][5] += 0.1


def spoil_graph(path: Path) -> None:
    """Turn the sign of one weight matrix, as a kernel that is wrong would: the file opens and runs as before."""
    model = onnx.load(path)
    scales = next(one for one in model.graph.initializer if one.name.endswith("weight_scale") and len(one.dims) == 2)
    scales.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(scales), scales.name))
    onnx.save(model, path)


def assert_close(results: list[dict[str, Any]], texts: int) -> None:
    """Every variant of a client's report compared `texts` texts, and gives what Python gives."""
    for result in results:
        assert result["texts"] == texts
        if result["precision"] == "fp32":
            assert result["difference"] <= LARGEST_DIFFERENCE, result
        else:
            assert result["mean"] >= MEAN_COSINE, result
            assert result["cosine"] >= LEAST_COSINE, result


def is_right_here(variant: dict[str, Any]) -> bool:
    """Whether this processor gives the right sums for a variant of a manifest."""
    return variant["precision"] != "int8" or not this_processor().saturates(_isa(variant))


def is_right_anywhere(variant: dict[str, Any]) -> bool:
    """Whether every processor does."""
    return variant["precision"] != "int8" or _isa(variant) in (None, "avx2")


def _isa(variant: dict[str, Any]) -> str | None:
    return (variant["quantization"] or {}).get("isa")


def lack(reason: str) -> NoReturn:
    """Skip a test whose tool is missing, or fail it where every tool was promised."""
    if os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(f"{reason}; tests/clients/tools.sh should have installed it", pytrace=False)
    pytest.skip(reason)
