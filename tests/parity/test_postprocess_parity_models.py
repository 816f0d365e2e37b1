"""Postprocess outputs against the pipelines of transformers, on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pipeline_models import reference_tokenizer

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Paris is the capital of France, isn't it?",
    "Ünïcödé naïve café: 東京 and emoji 🙂 stay in place!",
    "a",
    "Angela Merkel met Barack Obama in Berlin on 3 May 2013 to talk about the European Union and NATO.",
]
LABELS = dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]))
Opened = Callable[..., tuple[Any, Any]]


def theirs(task: str, model: Any, **options: Any) -> Any:
    return transformers.pipeline(task, model=model, tokenizer=reference_tokenizer(), device="cpu", **options)


def rows(*texts: list[str], side: str = "right") -> Any:
    """The texts (or pairs) in one padded batch, by the tokenizer of transformers."""
    tokenizer = reference_tokenizer()
    tokenizer.padding_side = side
    return tokenizer(*texts, return_tensors="np", padding=True, return_offsets_mapping=True)


def run(pipeline: Any, batch: Any, *outputs: str) -> list[np.ndarray]:
    """Those outputs of the graph, and nothing computed from them."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    found = pipeline.runtime.run({name: batch[name] for name in names}, outputs)
    return [found[name] for name in outputs]


@pytest.mark.parametrize(
    "changes", [{"num_labels": 4}, {"num_labels": 3, "problem_type": "multi_label_classification"}, {"num_labels": 1}]
)
def test_labels_of_texts(opened: Opened, changes: dict[str, Any]) -> None:
    ours, model = opened("text-classification", "BertForSequenceClassification", **changes)
    probabilities, ids = run(ours, rows(TEXTS), "probabilities", "label_ids")
    for row, (found, chosen) in enumerate(zip(probabilities, ids, strict=True)):
        wanted = theirs("text-classification", model)(TEXTS[row], top_k=None)
        scores = {label["label"]: label["score"] for label in wanted}
        np.testing.assert_allclose(found, [scores[f"LABEL_{i}"] for i in range(len(found))], atol=TOLERANCE)
        if chosen.ndim:
            assert chosen.tolist() == [int(scores[f"LABEL_{i}"] > 0.5) for i in range(len(found))]
        else:
            assert f"LABEL_{chosen}" == wanted[0]["label"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_tokens(opened: Opened, side: str) -> None:
    ours, model = opened("token-classification", "BertForTokenClassification", id2label=LABELS)
    batch = rows(TEXTS, side=side)
    probabilities, ids = run(ours, batch, "probabilities", "label_ids")
    mask = batch["attention_mask"]
    assert (ids[mask == 0] == -1).all()
    assert (probabilities[mask == 0] == 0).all()
    compared = 0
    for row, wanted in enumerate(theirs("token-classification", model)(TEXTS, ignore_labels=[])):
        first = int(mask[row].argmax())
        for token in wanted if side == "right" else []:
            assert LABELS[int(ids[row, first + token["index"]])] == token["entity"]
            best = probabilities[row, first + token["index"]].max()
            assert abs(best - token["score"]) <= TOLERANCE
            compared += 1
    if side == "right":  # positions move with padding on the left, and so do the results of both
        assert compared > 40


@pytest.mark.parametrize("side", ["right", "left"])
def test_answer_spans(opened: Opened, side: str) -> None:
    ours, model = opened("question-answering", "BertForQuestionAnswering")
    questions = ["Who met Angela Merkel?", "What is hard?", "où?", "Where is the fox?", "a"]
    contexts = [" ".join(TEXTS[i:]) if i != 3 else "a" for i in range(5)]
    batch = rows(questions, contexts, side=side)
    outputs = ("answer_start", "answer_end", "answer_score", "no_answer_score", "start_logits", "end_logits")
    starts, ends, scores, nothing, start_logits, end_logits = run(ours, batch, *outputs)
    reader = theirs("question-answering", model, align_to_words=False)
    if side == "right":
        for row, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            wanted = reader(question=question, context=context, handle_impossible_answer=True, top_k=5000)
            answers = [answer for answer in wanted if answer["answer"]]
            offsets = batch["offset_mapping"][row]
            found = int(offsets[starts[row]][0]), int(offsets[ends[row]][1])
            assert found == (answers[0]["start"], answers[0]["end"])
            assert abs(scores[row] - answers[0]["score"]) <= TOLERANCE
            impossible = [answer["score"] for answer in wanted if not answer["answer"]]
            assert impossible
            assert abs(nothing[row] - impossible[0]) <= TOLERANCE
    for row in range(len(questions)):  # the answer lies in the context, wherever padding is
        sequence = batch.sequence_ids(row)
        assert sequence[starts[row]] == sequence[ends[row]] == 1
        assert starts[row] <= ends[row] < starts[row] + 15
        context = [i for i, kind in enumerate(sequence) if kind == 1]
        best = max(start_logits[row, i] + end_logits[row, j] for i in context for j in context if i <= j < i + 15)
        assert start_logits[row, starts[row]] + end_logits[row, ends[row]] == pytest.approx(best, abs=1e-5)


def test_likeliest_tokens(opened: Opened) -> None:
    ours, model = opened("fill-mask", "BertForMaskedLM")
    texts = ["The capital of [MASK] is Paris.", "[MASK]", "I [MASK] you, café 東京 [MASK]!"]
    batch = rows(texts)
    ids, probabilities = run(ours, batch, "top_ids", "top_probabilities")
    for row, wanted in enumerate(theirs("fill-mask", model)(texts, top_k=5)):
        masks = wanted if isinstance(wanted[0], list) else [wanted]
        places = np.flatnonzero(batch["input_ids"][row] == 103)
        assert len(places) == len(masks)
        for place, guesses in zip(places, masks, strict=True):
            assert ids[row, place].tolist() == [guess["token"] for guess in guesses]
            np.testing.assert_allclose(probabilities[row, place], [g["score"] for g in guesses], atol=TOLERANCE)


def test_next_sentence(opened: Opened) -> None:
    ours, model = opened("next-sentence-prediction", "BertForNextSentencePrediction")
    batch = rows(TEXTS, TEXTS[1:] + TEXTS[:1])
    probabilities, ids = run(ours, batch, "probabilities", "label_ids")
    wanted = logits_of(model, batch)
    np.testing.assert_allclose(probabilities, wanted.softmax(-1), atol=TOLERANCE)
    assert ids.tolist() == wanted.argmax(-1).tolist()


def test_choices(opened: Opened) -> None:
    ours, model = opened("multiple-choice", "BertForMultipleChoice")
    flat = rows([TEXTS[0]] * 3 + [TEXTS[1]] * 3, TEXTS[:3] + TEXTS[2:])
    batch = {name: array.reshape(2, 3, -1) for name, array in flat.items() if name != "offset_mapping"}
    probabilities, ids = run(ours, batch, "probabilities", "choice_ids")
    wanted = logits_of(model, batch)
    np.testing.assert_allclose(probabilities, wanted.softmax(-1), atol=TOLERANCE)
    assert ids.tolist() == wanted.argmax(-1).tolist()


def test_the_next_token_is_that_of_greedy_generation(opened: Opened) -> None:
    ours, model = opened("text-generation", "BertLMHeadModel", is_decoder=True)
    (ids,) = run(ours, rows(TEXTS), "next_token_ids")
    for text, found in zip(TEXTS, ids, strict=True):
        inputs = reference_tokenizer()(text, return_tensors="pt")
        assert found == model.generate(**inputs, do_sample=False, max_new_tokens=1, pad_token_id=0)[0, -1]


def logits_of(model: Any, batch: Any) -> torch.Tensor:
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        return model(**{name: torch.tensor(batch[name]) for name in names}).logits
