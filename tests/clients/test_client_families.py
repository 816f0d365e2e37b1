"""Artifacts of BERT's family in transformers.js and optimum: what they give is what transformers gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from client_tools import EXAMPLES, LARGEST_DIFFERENCE
from families import Head, their_model
from trained_tokenizers import ROLES, write_folder

from bert_onnx.family import FAMILIES
from bert_onnx.tasks import TASKS
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.clients

TEXTS = ("Paris is the capital of France, isn't it?", "a quick brown fox")
#: model_type, task, kind of tokenizer and its class.
ARTIFACTS = (
    ("mpnet", "feature-extraction", "pieces", "MPNetTokenizer"),
    ("modernbert", "feature-extraction", "bpe", "PreTrainedTokenizerFast"),
)


@pytest.mark.parametrize(("model_type", "task", "kind", "tokenizer"), ARTIFACTS, ids=[row[0] for row in ARTIFACTS])
def test_a_family(model_type: str, task: str, kind: str, tokenizer: str, node: str, tmp_path: Path) -> None:
    folder, made = tmp_path / "checkpoint", tmp_path / "artifact"
    write_folder(folder, kind, {"tokenizer_class": tokenizer, **ROLES, "model_max_length": 32})
    types = {} if "type_vocab_size" in FAMILIES[model_type].lacks else {"type_vocab_size": 1}
    fields = {"vocab_size": 2500, "pad_token_id": 1, **types}
    model = their_model(Head(FAMILIES[model_type], TASKS[task].model_class), **fields)
    model.save_pretrained(folder)
    export(ExportRequest(str(folder), task, str(made)))
    reader = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True)
    rows = [reader(text, return_tensors="pt", return_token_type_ids=False) for text in TEXTS]
    with torch.no_grad():
        expected = [model(**row)[0].numpy() for row in rows]

    done = subprocess.run(
        [node, "families.mjs", str(made), *TEXTS],
        cwd=EXAMPLES / "test",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for found, wanted in zip(json.loads(done.stdout), expected, strict=True):
        np.testing.assert_allclose(found, wanted.ravel(), atol=LARGEST_DIFFERENCE)

    from optimum.onnxruntime import ORTModelForCustomTasks

    theirs = ORTModelForCustomTasks.from_pretrained(made, subfolder="onnx", file_name="model.onnx")
    for row, wanted in zip(rows, expected, strict=True):
        np.testing.assert_allclose(
            theirs(**row)[next(iter(theirs.output_names))].numpy(), wanted, atol=LARGEST_DIFFERENCE
        )
