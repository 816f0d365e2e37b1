"""text-ranking against `CrossEncoder` of sentence-transformers: on the checkpoint, and on our artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from pipeline_models import save_checkpoint, tiny_model
from sentence_transformers import CrossEncoder

import runtimes
from bert_onnx.errors import InputError, UsageError
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.slow

TOLERANCE = 2e-5
QUERY = "Which animal sat on the mat?"
DOCUMENTS = [
    "The cat sat on the mat.",
    "Paris is the capital of France.",
    "",
    "A dog ran off. " * 40,
    "Ünïcödé naïve café — 東京 🙂",
    "The cat sat on the mat.",
]
PAIRS = [(QUERY, document) for document in DOCUMENTS] + [("a " * 150, "b " * 150), ["", "one"]]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function of a folder's maker: their model on it, ours on its export, theirs on the export."""
    made: dict[str, tuple[Any, Any, Any]] = {}

    def make(name: str) -> tuple[Any, Any, Any]:
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            folder = CHECKPOINTS[name](root / "checkpoint")
            task = "text-ranking" if name == "three labels" else "auto"
            request = ExportRequest(str(folder), task, str(root / "out"), postprocess=name != "nothing said")
            assert export(request).artifact.manifest.task == "text-ranking"
            ours = runtimes.load(root / "out")
            options: dict[str, Any] = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
            theirs_on_ours = CrossEncoder(str(root / "out"), backend="onnx", model_kwargs=options)
            made[name] = CrossEncoder(str(folder), device="cpu"), ours, theirs_on_ours
        return made[name]

    yield make
    for _, ours, _ in made.values():
        ours.close()


def _saved(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    save_checkpoint(tiny_model("BertForSequenceClassification", **changes), folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def _of_modules(folder: Path) -> Path:
    """As sentence-transformers 5 saves it: activation and prompts beside modules.json, and a length of its own."""
    made = CrossEncoder(
        str(_saved(folder.with_name("raw"), {}, num_labels=1)),
        device="cpu",
        prompts={"query": "find: "},
        default_prompt_name="query",
        activation_fn=torch.nn.Softplus(),
    )
    made.save_pretrained(str(folder))
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_seq_length": 40}))
    return folder


CHECKPOINTS = {
    "nothing said": lambda folder: _saved(folder, {}, num_labels=1),
    "old key": lambda folder: _saved(
        folder, {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, num_labels=1
    ),
    "of modules": _of_modules,
    "three labels": lambda folder: _saved(folder, {}, num_labels=3),
}


def _same(found: Any, expected: Any) -> None:
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=1e-5)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores(opened: Any, name: str) -> None:
    theirs, ours, theirs_on_ours = opened(name)
    expected = theirs.predict(PAIRS)
    _same(ours.predict(PAIRS, batch_size=3), expected)
    _same(theirs_on_ours.predict(PAIRS), expected)
    _same(ours.predict(PAIRS[0]), theirs.predict(PAIRS[0]))
    _same(ours.predict(np.array(PAIRS[:2])), expected[:2])
    _same(ours.predict(PAIRS, apply_softmax=True), theirs.predict(PAIRS, apply_softmax=True))
    _same(ours.predict(PAIRS, activation_fn="Tanh"), theirs.predict(PAIRS, activation_fn=torch.nn.Tanh()))
    if theirs.num_labels == 1:
        called = ours([query for query, _ in PAIRS], [document or " " for _, document in PAIRS])
        _same([answer.score for answer in called], expected)


def test_scores_in_the_graph(opened: Any) -> None:
    theirs, ours, _ = opened("of modules")
    session = onnxruntime.InferenceSession(ours.folder / "onnx" / "model.onnx")
    tokens = ours.tokenizer([query for query, _ in PAIRS[:3]], [one for _, one in PAIRS[:3]], padding=True)
    (found,) = session.run(["scores"], {name: np.array(ids) for name, ids in tokens.items()})
    _same(found[:, 0], theirs.predict(PAIRS[:3], prompt=""))


@pytest.mark.parametrize("name", ["nothing said", "of modules"])
def test_ranks(opened: Any, name: str) -> None:
    theirs, ours, _ = opened(name)
    for top_k in (None, 3):
        expected = theirs.rank(QUERY, DOCUMENTS, top_k=top_k, return_documents=True)
        found = ours.rank(QUERY, DOCUMENTS, top_k=top_k, return_documents=True)
        assert [(one.corpus_id, one.text) for one in found] == [(one["corpus_id"], one["text"]) for one in expected]
        _same([one.score for one in found], [one["score"] for one in expected])
    assert [one.truncated for one in sorted(ours.rank(QUERY, DOCUMENTS), key=lambda one: one.corpus_id)] == [
        index == 3 for index in range(len(DOCUMENTS))
    ]
    assert ours.rank(QUERY, []) == []


def test_prompts(opened: Any) -> None:
    theirs, ours, theirs_on_ours = opened("of modules")
    for prompt in ({"prompt_name": "query"}, {"prompt": "Judge this: "}, {"prompt": ""}):
        expected = theirs.predict(PAIRS, **prompt)
        _same(ours.predict(PAIRS, **prompt), expected)
        _same(theirs_on_ours.predict(PAIRS, **prompt), expected)
    with pytest.raises(UsageError, match="there is no prompt 'passage'"):
        ours.rank(QUERY, DOCUMENTS, prompt_name="passage")


def test_what_is_no_pair_and_what_does_not_rank(opened: Any) -> None:
    _, ours, _ = opened("nothing said")
    for pairs, message in (
        ([("a", "b", "c")], "pair 0 has 3 texts"),
        ([("a", 1)], "of pair 0 text 1 is a int"),
        (["a", "b", "c"], "pair 0 has 3 texts"),
        (None, r"a pair is \(query, document\).*NoneType"),
        ([("a", "b"), "c"], "pair 1 has 1 texts"),
    ):
        with pytest.raises(InputError, match=message):
            ours.predict(pairs)
    with pytest.raises(InputError, match="the query is a list"):
        ours.rank(["a"], DOCUMENTS)
    with pytest.raises(UsageError, match="activation 'Wrong' is unknown"):
        ours.predict(PAIRS, activation_fn="Wrong")
    with pytest.raises(UsageError, match="3 labels"):
        opened("three labels")[1].rank(QUERY, DOCUMENTS)
