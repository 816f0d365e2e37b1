"""Quality in the manifest and in the model card: strict, consistent with its own figures, and loud where degraded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from artifact_builders import make_manifest, make_variant, publish_small

from bert_onnx.artifact import Artifact, Manifest, Quality
from bert_onnx.artifact.card import model_card
from bert_onnx.artifact.contract.decode import decode_manifest
from bert_onnx.artifact.contract.quality import missed
from bert_onnx.errors import ArtifactError

GOOD = Quality(
    figures={"cosine_mean": 0.9993, "cosine_min": 0.9961, "invariance": 2e-6, "spearman": -0.25},
    thresholds={"cosine_mean": 0.999, "invariance": 1e-5},
    texts="built-in evaluation",
    texts_sha256="cd" * 32,
    count=512,
    passed=True,
    degraded=False,
)
BAD = replace(GOOD, figures={**GOOD.figures, "cosine_mean": 0.98}, passed=False, degraded=True)


def manifest_with(quality: Quality | None) -> Manifest:
    return make_manifest(variants=(replace(make_variant(), quality=quality),))


def published(folder: Path, quality: Quality | None) -> dict[str, Any]:
    """manifest.json of an artifact whose variant has `quality`."""
    path = publish_small(folder / "artifact", manifest=manifest_with(quality))
    values: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    return values


@pytest.mark.parametrize("quality", [None, GOOD, BAD])
def test_quality_survives_publishing(tmp_path: Path, quality: Quality | None) -> None:
    published(tmp_path, quality)
    assert Artifact.open(tmp_path / "artifact").manifest.variants[0].quality == quality


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"passed": False, "degraded": True}, "says passed = False"),
        ({"thresholds": {"cosine_mean": 0.9999}}, "says passed = True"),
        ({"thresholds": {"accuracy": 0.5}}, "says passed = True"),
        ({"thresholds": {"invariance": 1e-7}}, "says passed = True"),
        ({"degraded": True}, "degraded = True with passed = True"),
        ({"figures": {"cosine_mean": "0.9993"}}, r"figures\[\.\.\.\]: Expected `float`, got `"),
        ({"figures": {"cosine_mean": True}}, r"figures\[\.\.\.\]: Expected `float`, got `"),
        ({"texts_sha256": "CD" * 32}, r"texts_sha256: Expected `str` matching regex .*\{64\}"),
        ({"count": 0}, "quality.count: Expected `int` >= 1"),
        ({"verdict": "good"}, "unknown field 'verdict'"),
    ],
)
def test_a_quality_that_contradicts_itself_is_refused(
    tmp_path: Path, change: Mapping[str, Any], complaint: str
) -> None:
    document = published(tmp_path, GOOD)
    document["variants"][0]["quality"] |= change
    with pytest.raises(ArtifactError, match=complaint):
        decode_manifest(json.dumps(document).encode(), "manifest.json")


def test_a_miss_that_nobody_allowed_cannot_be_sealed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="degraded = False with passed = False"):
        published(tmp_path, replace(BAD, degraded=False))
    assert not (tmp_path / "artifact").exists()


def test_what_is_missed() -> None:
    figures = {"cosine_mean": 0.999, "kl_mean": 0.01, "label_agreement": float("nan")}
    limits = {"cosine_mean": 0.999, "kl_mean": 0.01, "label_agreement": 0.0, "spearman": 0.9}
    assert missed(figures, limits) == ("label_agreement", "spearman")
    assert missed(figures, {"cosine_mean": 0.9991, "kl_mean": 0.0099}) == ("cosine_mean", "kl_mean")


def test_the_card_shows_every_figure_with_its_budget() -> None:
    card = model_card(manifest_with(GOOD))
    assert "| mean cosine to the reference | 0.9993 | at least 0.999 |" in card
    assert "| largest change of an output with its place in a batch | 2e-06 | at most 1e-05 |" in card
    assert "| smallest cosine to the reference | 0.9961 |  |" in card
    assert "512 texts of built-in evaluation (sha256 `cdcdcdcdcdcd`): passed." in card
    assert "WARNING" not in card


def test_the_card_warns_of_a_degraded_variant_before_anything_else() -> None:
    card = model_card(manifest_with(BAD))
    warning = card.index("> [!WARNING]")
    assert warning < card.index("## Inputs and outputs")
    line = next(line for line in card.splitlines() if line.startswith("> - "))
    assert line == "> - `onnx/model.onnx`: mean cosine to the reference is 0.98, budget at least 0.999"
    assert "**degraded: below its budget**" in card


def test_the_card_names_what_was_left_in_float() -> None:
    variant = replace(make_variant(), quality=GOOD, excluded_nodes=("encoder/layer.0/output/dense/MatMul",))
    assert "Left in float: `encoder/layer.0/output/dense/MatMul`." in model_card(make_manifest(variants=(variant,)))


def test_a_card_without_quality_has_no_such_section() -> None:
    assert "Quality on held-out text" not in model_card(manifest_with(None))
