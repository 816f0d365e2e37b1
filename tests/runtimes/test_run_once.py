"""What `bert-onnx run` asks of a pipeline: which options fit, and where they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import rule_pipeline
from toy_artifacts import publish_toy, table

from bert_onnx.artifact import Artifact
from bert_onnx.errors import UsageError
from runtimes import run_once
from runtimes.run_once import RunOptions, predict
from runtimes.selection.request import RuntimeRequest


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function of (task, names of labels): `predict` then runs that task's pipeline on a rule.

    The rule: the logits are a tenth of the number of tokens, and its negative.
    """

    def open_as(task: str, labels: Sequence[str] = ("LABEL_0",)) -> Path:
        folder = tmp_path / "artifact"
        manifest = replace(Artifact.open(publish_toy(folder, table())).manifest, task=task)

        def rule(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            length = inputs["attention_mask"].sum(axis=1, keepdims=True).astype(np.float32) / 10
            return {"logits": np.concatenate([length, -length, -length], axis=1)[:, : len(labels)]}

        def load(folder: Path, request: RuntimeRequest) -> Any:
            return rule_pipeline(tmp_path, task, rule, id2label=dict(enumerate(labels)))

        monkeypatch.setattr(run_once, "check_request", lambda folder, request: manifest)
        monkeypatch.setattr(run_once, "load_request", load)
        return folder

    return open_as


def test_documents_are_ranked(opened: Any) -> None:
    folder = opened("text-ranking", ["LABEL_0"])
    found = [one.to_dict() for one in predict(folder, ["a", "a b a", "a b"], RunOptions(query="b", top_k=2))]
    assert [(one["corpus_id"], one["text"]) for one in found] == [(1, "a b a"), (2, "a b")]


def test_texts_are_judged_by_labels(opened: Any) -> None:
    folder = opened("text-classification", ["entailment", "neutral", "contradiction"])
    for options in (RunOptions(labels="a,b a"), RunOptions(labels="a,b a", multi_label=True)):
        (found,) = (one.to_dict() for one in predict(folder, ["b"], options))
        assert found["labels"] == ["b a", "a"]
    assert sum(predict(folder, ["b"], RunOptions(labels="a,b"))[0].to_dict()["scores"]) == pytest.approx(1.0)


def test_the_function_of_scores(opened: Any) -> None:
    folder = opened("text-classification", ["LABEL_0", "LABEL_1", "LABEL_2"])
    (found,) = predict(folder, ["a b"], RunOptions(pair="a", function_to_apply="none", top_k=1))
    assert found.to_dict()["labels"] == [{"label": "LABEL_0", "score": pytest.approx(0.6)}]


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        (
            "text-classification",
            {"query": "a"},
            "--query has no meaning for text-classification; it is for text-ranking",
        ),
        ("fill-mask", {"labels": "a"}, "--labels has no meaning for fill-mask"),
        ("fill-mask", {"multi_label": True}, "--multi-label says how labels are judged; give them with --labels"),
        ("text-ranking", {"query": "a", "pair": "b"}, "--query and --pair exclude each other"),
        ("text-ranking", {"query": "a", "labels": "b"}, "--query and --labels exclude each other"),
        ("text-classification", {"labels": "a", "top_k": 1}, "--labels and --top-k exclude each other"),
        ("text-ranking", {"query": "a", "prompt_name": "none"}, "there is no prompt 'none'"),
        ("feature-extraction", {"pair": "a"}, "--pair has no meaning"),
    ],
)
def test_options_that_do_not_fit(opened: Any, task: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        predict(opened(task), ["a"], RunOptions(**options))


def test_what_a_graph_that_takes_text_does_not_do(opened: Any) -> None:
    request = RuntimeRequest(text_input=True)
    with pytest.raises(UsageError, match="--top-k and --query"):
        predict(opened("text-ranking"), ["a"], RunOptions(query="a", top_k=1), request)
