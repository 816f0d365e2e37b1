"""Zero-shot classification against the pipeline of transformers, on the same weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import transformers
from pipeline_models import reference_tokenizer

from bert_onnx.errors import InputError, UsageError

pytestmark = pytest.mark.slow

Opened = Callable[..., tuple[Any, Any]]
TEXTS = ["The cat sat on the mat.", "a", "Paris is the capital of France. " * 30, "Ünïcödé — 東京 🙂"]
LABELS = ["animals", "politics", "a city of many people", "animals"]
NLI = {0: "contradiction", 1: "neutral", 2: "entailment"}
FIRST = {0: "ENTAILMENT", 1: "neutral", 2: "contradiction"}
UNNAMED = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


@pytest.mark.parametrize("names", [NLI, FIRST, UNNAMED], ids=["last", "first", "unnamed"])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [LABELS, "sports, food ,", ["one"]], ids=["list", "string", "one"])
def test_scores(opened: Opened, names: dict[int, str], multi_label: bool, labels: Any) -> None:
    ours, model = _opened(opened, names)
    expected = _theirs(model)(TEXTS, labels, multi_label=multi_label)
    _same(ours.zero_shot(TEXTS, labels, multi_label=multi_label, batch_size=3), expected)


def test_a_model_with_one_label(opened: Opened) -> None:
    ours, model = opened("text-classification", "BertForSequenceClassification", num_labels=1)
    for multi_label in (False, True):
        expected = _theirs(model)(TEXTS, LABELS, multi_label=multi_label)
        _same(ours.zero_shot(TEXTS, LABELS, multi_label=multi_label), expected)


def test_templates_and_one_text(opened: Opened) -> None:
    ours, model = _opened(opened, NLI)
    template = "{} is what it is about"
    expected = _theirs(model)(TEXTS[0], LABELS, hypothesis_template=template)
    _same(ours.zero_shot(TEXTS[0], LABELS, hypothesis_template=template), [expected])


def test_long_labels_are_never_cut(opened: Opened) -> None:
    ours, model = _opened(opened, NLI)
    labels = ["short", "word " * 86]  # three tokens of the text are left beside it
    _same(ours.zero_shot("a b c d e f", labels), [_theirs(model)("a b c d e f", labels)])
    with pytest.raises(InputError, match="98 tokens"):
        ours.zero_shot("a", ["short", "word " * 90])
    with pytest.raises(RuntimeError):
        _theirs(model)("a", ["short", "word " * 90])


def test_what_is_cut_says_so(opened: Opened) -> None:
    ours, _ = _opened(opened, NLI)
    assert [one.truncated for one in ours.zero_shot(TEXTS, LABELS)] == [False, False, True, False]


def test_without_entailment_among_the_labels_the_last_counts(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    ours, _ = _opened(opened, UNNAMED)
    with caplog.at_level(logging.WARNING):
        ours.zero_shot("a", ["b", "c"])
    assert "no label of the model begins with 'entail' (they are LABEL_0, LABEL_1, LABEL_2)" in caplog.text


def test_refusals(opened: Opened) -> None:
    ours, _ = _opened(opened, NLI)
    for labels in ([], "", " , "):
        with pytest.raises(InputError, match="no candidate labels"):
            ours.zero_shot("a", labels)
    for template in ("no place", "{} {}", "{name}", "{"):
        with pytest.raises(UsageError, match=r"needs one \{\}"):
            ours.zero_shot("a", ["b"], hypothesis_template=template)
    with pytest.raises(InputError, match="label 1 is a int"):
        ours.zero_shot("a", ["b", 1])
    assert ours.zero_shot([], ["b"]) == []


def _opened(opened: Opened, names: dict[int, str]) -> tuple[Any, Any]:
    label2id = {name: index for index, name in names.items()}
    return opened("text-classification", "BertForSequenceClassification", id2label=names, label2id=label2id)


def _theirs(model: Any) -> Any:
    return transformers.pipeline("zero-shot-classification", model=model, tokenizer=reference_tokenizer(), device="cpu")


def _same(found: list[Any], expected: list[Any]) -> None:
    for one, wanted in zip(found, expected, strict=True):
        assert one.sequence == wanted["sequence"]
        assert sorted(one.labels) == sorted(wanted["labels"])
        np.testing.assert_allclose(one.scores, wanted["scores"], atol=1e-4)
        scores = dict(zip(wanted["labels"], wanted["scores"], strict=True))
        for label, score in zip(one.labels, one.scores, strict=True):
            assert score == pytest.approx(scores[label], abs=1e-4)
