"""ModernBERT's classifiers of texts: what they read decides which graphs there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import Head, their_model

from bert_onnx.artifact import Artifact
from bert_onnx.errors import ExportError
from bert_onnx.family import FAMILIES
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.slow


def exported(folder: Path, pooling: str, *targets: str) -> Artifact:
    head = Head(FAMILIES["modernbert"], "BertForSequenceClassification")
    their_model(head, classifier_pooling=pooling).save_pretrained(folder / "checkpoint")
    return export(
        ExportRequest(str(folder / "checkpoint"), "text-classification", str(folder / "out"), targets=targets)
    ).artifact


def test_the_first_place_is_one_row_of_the_last_layer(tmp_path: Path) -> None:
    for variant in exported(tmp_path, "cls", "ort-cpu", "web").manifest.variants:
        assert (variant.fused["rotary"], variant.fused["first_row"]) == (6, 1)


def test_the_first_place_is_not_read_unpadded(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"reads the first place of each text.*; take the target without -unpadded"):
        exported(tmp_path, "cls", "ort-cpu-unpadded")


def test_a_mean_of_tokens_is_read_unpadded(tmp_path: Path) -> None:
    variants = {variant.target: variant for variant in exported(tmp_path, "mean", "ort-cpu-unpadded").manifest.variants}
    assert variants["ort-cpu-unpadded"].fused["unpadded_attention"] == 3
