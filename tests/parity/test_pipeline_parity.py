"""Our pipelines against those of transformers, on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pipeline_models import MAX_LENGTH, reference_tokenizer

from bert_onnx.errors import InputError, UsageError

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Paris is the capital of France, isn't it?",
    "Ünïcödé naïve café — 東京 and emoji 🙂 stay in place!",
    "a",
    "",
    "Tokenization of antidisestablishmentarianism, hyper-parameters and 3.14159 is hard; e-mail me@example.org.",
    "Angela Merkel met Barack Obama in Berlin on 3 May 2013 to talk about the European Union and NATO.",
]
Opened = Callable[..., tuple[Any, Any]]


def theirs(task: str, model: Any, **options: Any) -> Any:
    return transformers.pipeline(task, model=model, tokenizer=reference_tokenizer(), device="cpu", **options)


def entity_labels() -> dict[int, str]:
    return dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]))


# -- fill-mask


@pytest.mark.parametrize("top_k", [1, 5, 40])
def test_fill_mask(opened: Opened, top_k: int) -> None:
    ours, model = opened("fill-mask", "BertForMaskedLM")
    texts = [
        "The capital of [MASK] is Paris.",
        "[MASK]",
        "I [MASK] you, café 東京 [MASK]!",
        "one two three [MASK] [MASK] [MASK]",
    ]
    expected = theirs("fill-mask", model)(texts, top_k=top_k)
    for answer, reference in zip(ours(texts, top_k=top_k, batch_size=3), expected, strict=True):
        masks = reference if isinstance(reference[0], list) else [reference]
        assert len(answer.masks) == len(masks)
        for guesses, wanted in zip(answer.masks, masks, strict=True):
            assert [(g.token, g.token_str, g.sequence) for g in guesses] == [
                (w["token"], w["token_str"], w["sequence"]) for w in wanted
            ]
            np.testing.assert_allclose([g.score for g in guesses], [w["score"] for w in wanted], atol=TOLERANCE)


def test_fill_mask_targets(opened: Opened) -> None:
    ours, model = opened("fill-mask", "BertForMaskedLM")
    targets = ["france", "germany", "the", "##ing"]
    expected = theirs("fill-mask", model)("The capital of [MASK] is Paris.", targets=targets)
    (answer,) = ours("The capital of [MASK] is Paris.", targets=targets)
    assert [g.token for g in answer.masks[0]] == [w["token"] for w in expected]
    np.testing.assert_allclose([g.score for g in answer.masks[0]], [w["score"] for w in expected], atol=TOLERANCE)


@pytest.mark.parametrize(
    "targets",
    [
        ["antidisestablishmentarianism", "the", "paris"],  # several pieces
        "Germany",
        ["東京", "🙂🙂", "france"],  # unknown
        ["[UNK]", "[PAD]", "##ing", "ing", "The", "the", " the "],
        ["", "a b c", "x"],
    ],
)
@pytest.mark.parametrize("top_k", [1, 50])
def test_fill_mask_targets_that_are_no_tokens(
    opened: Opened, targets: Any, top_k: int, caplog: pytest.LogCaptureFixture
) -> None:
    ours, model = opened("fill-mask", "BertForMaskedLM")
    text = "The capital of [MASK] is Paris."
    expected = theirs("fill-mask", model)(text, targets=targets, top_k=top_k)
    (answer,) = ours(text, targets=targets, top_k=top_k)
    assert [(g.token, g.token_str, g.sequence) for g in answer.masks[0]] == [
        (w["token"], w["token_str"], w["sequence"]) for w in expected
    ]
    assert ("is not a token of this model" in caplog.text) == (targets[0] != "[UNK]" or " the " in targets)


@pytest.mark.parametrize(
    "options",
    [{}, {"truncation": True}, {"truncation": True, "max_length": 9}, {"add_special_tokens": False}, {"padding": True}],
)
def test_fill_mask_tokenizer_kwargs(opened: Opened, options: dict[str, Any]) -> None:
    ours, model = opened("fill-mask", "BertForMaskedLM")
    text = "The capital of [MASK] is Paris, " + "and a text " * (40 if options.get("truncation") else 2)
    expected = theirs("fill-mask", model)(text, top_k=3, tokenizer_kwargs=options)
    (answer,) = ours(text, top_k=3, tokenizer_kwargs=options)
    assert [(g.token, g.sequence) for g in answer.masks[0]] == [(w["token"], w["sequence"]) for w in expected]
    np.testing.assert_allclose([g.score for g in answer.masks[0]], [w["score"] for w in expected], atol=TOLERANCE)
    assert answer.truncated == ("truncation" in options)


# -- text-classification


@pytest.mark.parametrize(
    "changes",
    [
        {"num_labels": 4},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 3, "problem_type": "single_label_classification"},
        {"num_labels": 1},
        {"num_labels": 1, "problem_type": "regression"},
        {"num_labels": 2, "problem_type": "regression"},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_text_classification(opened: Opened, changes: dict[str, Any]) -> None:
    ours, model = opened("text-classification", "BertForSequenceClassification", **changes)
    expected = theirs("text-classification", model)(TEXTS, top_k=None)
    for answer, wanted in zip(ours(TEXTS, batch_size=3), expected, strict=True):
        assert [label.label for label in answer.labels] == [label["label"] for label in wanted]
        np.testing.assert_allclose(
            [label.score for label in answer.labels], [label["score"] for label in wanted], atol=TOLERANCE
        )
        assert not answer.truncated


def test_text_classification_of_pairs(opened: Opened) -> None:
    ours, model = opened("text-classification", "BertForSequenceClassification", num_labels=4)
    expected = theirs("text-classification", model)([{"text": t, "text_pair": TEXTS[0]} for t in TEXTS], top_k=2)
    for answer, wanted in zip(ours(TEXTS, TEXTS[0], top_k=2), expected, strict=True):
        assert [label.label for label in answer.labels] == [label["label"] for label in wanted]


@pytest.mark.parametrize(
    "options",
    [
        {"function_to_apply": "sigmoid"},
        {"function_to_apply": "NONE"},
        {"function_to_apply": "softmax", "top_k": 2},
        {"truncation": True, "max_length": 8},
        {"truncation": "only_first", "max_length": 9},
        {"add_special_tokens": False, "top_k": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("changes", [{"num_labels": 4}, {"num_labels": 1, "problem_type": "regression"}], ids=str)
def test_options_of_text_classification(opened: Opened, changes: dict[str, Any], options: dict[str, Any]) -> None:
    ours, model = opened("text-classification", "BertForSequenceClassification", **changes)
    texts = [text for text in TEXTS if text]  # nothing at all can be read without special tokens
    expected = theirs("text-classification", model)(texts, **{"top_k": None, **options})
    for answer, wanted in zip(ours(texts, **options), expected, strict=True):
        assert [label.label for label in answer.labels] == [label["label"] for label in wanted]
        scores = [label["score"] for label in wanted]
        np.testing.assert_allclose([label.score for label in answer.labels], scores, atol=TOLERANCE)


def test_a_text_that_must_not_be_cut(opened: Opened) -> None:
    ours, _ = opened("text-classification", "BertForSequenceClassification", num_labels=4)
    with pytest.raises(InputError, match="96"):
        ours("word " * 200, truncation=False)
    assert not ours("word " * 90, truncation=False)[0].truncated


# -- token-classification


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("ignored", [["O"], []], ids=["O", "nothing"])
def test_token_classification(opened: Opened, aggregation: str, ignored: list[str]) -> None:
    ours, model = opened("token-classification", "BertForTokenClassification", id2label=entity_labels())
    expected = theirs("token-classification", model)(TEXTS, aggregation_strategy=aggregation, ignore_labels=ignored)
    answers = ours(TEXTS, aggregation=aggregation, ignore_labels=ignored, batch_size=3)
    for answer, wanted in zip(answers, expected, strict=True):
        check_entities(answer.entities, wanted)
    assert sum(len(answer.entities) for answer in answers) > 20


@pytest.mark.parametrize("stride", [0, 16, 40])
@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
def test_token_classification_in_windows(opened: Opened, aggregation: str, stride: int) -> None:
    ours, model = opened("token-classification", "BertForTokenClassification", id2label=entity_labels())
    text = " ".join(TEXTS * 4)
    expected = theirs("token-classification", model, aggregation_strategy=aggregation, stride=stride)(text)
    (answer,) = ours(text, aggregation=aggregation, stride=stride)
    check_entities(answer.entities, expected)
    assert not answer.truncated


def test_token_classification_cuts_like_the_reference(opened: Opened) -> None:
    ours, model = opened("token-classification", "BertForTokenClassification", id2label=entity_labels())
    text = " ".join(TEXTS * 4)
    (answer,) = ours(text, aggregation="none")
    check_entities(answer.entities, theirs("token-classification", model)(text))
    assert answer.truncated


def check_entities(entities: Any, wanted: list[dict[str, Any]]) -> None:
    assert [(e.label, e.word, e.start, e.end, e.index) for e in entities] == [
        (w.get("entity", w.get("entity_group")), w["word"], w["start"], w["end"], w.get("index")) for w in wanted
    ]
    np.testing.assert_allclose([e.score for e in entities], [w["score"] for w in wanted], atol=TOLERANCE)


# -- question-answering

CONTEXT = " ".join(TEXTS)
QUESTIONS = ["Who met Angela Merkel?", "What is hard?", "où?", "Where is the fox, and where is the dog?"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 4},
        {"top_k": 4, "max_answer_len": 3},
        {"top_k": 30, "max_answer_len": 2},
        {"top_k": 3, "handle_impossible_answer": True},
        {"top_k": 5, "align_to_words": False},
        {"top_k": 2, "max_seq_len": 90, "doc_stride": 40},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()) or "default",
)
def test_question_answering(opened: Opened, options: dict[str, Any]) -> None:
    """In contexts of one window; what transformers cannot say is left out of its answers."""
    ours, model = opened("question-answering", "BertForQuestionAnswering")
    reader = theirs("question-answering", model)
    contexts = [TEXTS[5], TEXTS[0] + "\n" + TEXTS[6], TEXTS[2] + " cafe\u0301 서울특별시", "a", "I am [SEP] here ."]
    for context in contexts:
        answers = ours(QUESTIONS, context, **options)
        assert [answer.windows for answer in answers] == [1] * len(QUESTIONS)
        for question, answer in zip(QUESTIONS, answers, strict=True):
            expected = reader(question=question, context=context, **options)
            wanted = [w for w in (expected if isinstance(expected, list) else [expected]) if w["score"] > 0]
            assert [(a.answer, a.start, a.end) for a in answer.answers] == [
                (w["answer"], w["start"], w["end"]) for w in wanted
            ]
            np.testing.assert_allclose([a.score for a in answer.answers], [w["score"] for w in wanted], atol=TOLERANCE)
        mappings = [{"question": question, "context": context} for question in QUESTIONS]
        assert ours(mappings, **options) == answers
        assert ours(mappings[0], **options) == answers[:1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_seq_len": 64, "doc_stride": 32},
        {"max_seq_len": 40, "doc_stride": 0, "handle_impossible_answer": True},
        {"max_seq_len": 20, "doc_stride": 2, "align_to_words": False},
    ],
)
def test_question_answering_in_windows(opened: Opened, options: dict[str, Any]) -> None:
    """Scores of all windows are parts of one."""
    ours, _ = opened("question-answering", "BertForQuestionAnswering")
    context = " ".join([CONTEXT] * 3)
    (answer,) = ours("Who?", context, top_k=100_000, max_answer_len=100, **options)
    assert answer.windows > 3
    scores = [found.score for found in answer.answers]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) <= 1
    assert {found.answer for found in answer.answers} <= {context[found.start : found.end] for found in answer.answers}


def test_question_answering_where_transformers_passes_1(opened: Opened) -> None:
    ours, model = opened("question-answering", "BertForQuestionAnswering")
    options = {"max_seq_len": 40, "doc_stride": 20, "top_k": 100_000}
    added = theirs("question-answering", model)(question="Who?", context=CONTEXT, **options)
    assert sum(found["score"] for found in added) > 1
    assert sum(found.score for found in ours("Who?", CONTEXT, **options)[0].answers) <= 1


def test_question_answering_at_the_limits_of_windows(opened: Opened) -> None:
    ours, _ = opened("question-answering", "BertForQuestionAnswering")
    question, context = "who is it", "one two three"  # three tokens each, and three special ones
    for length in (7, 8, 9):  # room for one token, for two, for all
        (answer,) = ours(question, context, max_seq_len=length, top_k=9)
        assert answer.windows == {7: 3, 8: 2, 9: 1}[length]
        assert {found.answer for found in answer.answers} >= {"one", "two", "three"}
    assert ours(question, context, max_seq_len=9, doc_stride=50) == ours(question, context, max_seq_len=9)
    assert ours(question, context, max_seq_len=8, doc_stride=1)[0].windows == 2
    with pytest.raises(InputError, match="leaves no room"):
        ours(question, context, max_seq_len=6)
    with pytest.raises(UsageError, match="doc_stride is 2; beside question 0 it must be from 0 to 1"):
        ours(question, context, max_seq_len=8, doc_stride=2)
    with pytest.raises(UsageError, match="0 tokens or more"):
        ours(question, context, doc_stride=-1)
    bad: list[Any] = [{"question": "a"}, [{"question": "a", "context": "b"}, "c"], {"question": None, "context": "b"}]
    for value in bad:
        with pytest.raises(InputError):
            ours(value)


# -- feature-extraction


def test_feature_extraction(opened: Opened) -> None:
    ours, model = opened("feature-extraction", "BertModel")
    expected = theirs("feature-extraction", model)(TEXTS)
    tokenizer = reference_tokenizer()
    for text, answer, wanted in zip(TEXTS, ours(TEXTS, batch_size=4), expected, strict=True):
        np.testing.assert_allclose(answer.vectors, wanted[0], atol=TOLERANCE)
        assert list(answer.tokens) == tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


# -- pairs and choices: transformers has no pipeline for them, the model is called directly


def test_next_sentence(opened: Opened) -> None:
    ours, model = opened("next-sentence-prediction", "BertForNextSentencePrediction")
    seconds = TEXTS[1:] + TEXTS[:1]
    for first, second, answer in zip(TEXTS, seconds, ours(TEXTS, seconds, batch_size=3), strict=True):
        with torch.no_grad():
            logits = model(**reference_tokenizer()([first], [second], return_tensors="pt")).logits[0]
        assert abs(answer.score - float(logits.softmax(-1)[0])) <= TOLERANCE
        assert answer.is_next == bool(logits[0] >= logits[1])


def test_pretraining(opened: Opened) -> None:
    ours, model = opened("pretraining", "BertForPreTraining")
    first, second = "The [MASK] brown fox.", "It jumps over the [MASK]."
    (answer,) = ours([first], [second], top_k=3)
    inputs = reference_tokenizer()(first, second, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    at = (inputs["input_ids"][0] == 103).nonzero()[:, 0]
    scores, tokens = output.prediction_logits[0, at].softmax(-1).topk(3)
    assert [[guess.token for guess in mask] for mask in answer.masks] == tokens.tolist()
    np.testing.assert_allclose([[g.score for g in mask] for mask in answer.masks], scores, atol=TOLERANCE)
    assert answer.next_sentence is not None
    assert abs(answer.next_sentence.score - float(output.seq_relationship_logits[0].softmax(-1)[0])) <= TOLERANCE
    (alone,) = ours([first])
    assert alone.next_sentence is None


def test_multiple_choice(opened: Opened) -> None:
    ours, model = opened("multiple-choice", "BertForMultipleChoice")
    choices = [TEXTS[:2], TEXTS[2:5], TEXTS[:1], TEXTS[3:5], TEXTS[:3], TEXTS[4:6], TEXTS]
    for prompt, own, answer in zip(TEXTS, choices, ours(TEXTS, choices, batch_size=2), strict=True):
        inputs = reference_tokenizer()([prompt] * len(own), own, return_tensors="pt", padding=True)
        with torch.no_grad():
            wanted = model(**{name: tensor[None] for name, tensor in inputs.items()}).logits[0].softmax(-1)
        np.testing.assert_allclose(answer.scores, wanted, atol=TOLERANCE)
        assert answer.index == int(wanted.argmax())
        assert answer.choice == own[answer.index]


# -- generation


@pytest.mark.parametrize("task", ["text-generation", "text-generation-with-past"])
def test_generation(opened: Opened, task: str) -> None:
    ours, model = opened(task, "BertLMHeadModel", is_decoder=True)
    tokenizer = reference_tokenizer()
    texts = [*TEXTS, "The quick brown cat walks under the busy dog."]
    answers = ours(texts, max_new_tokens=12, batch_size=2)
    for text, answer in zip(texts, answers, strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        made = model.generate(**inputs, do_sample=False, max_new_tokens=12, pad_token_id=0)[0].tolist()
        assert list(answer.tokens) == made[inputs["input_ids"].shape[1] :]
        assert answer.finished == "length"
    expected = theirs("text-generation", model)(texts, do_sample=False, max_new_tokens=12, pad_token_id=0)
    assert [answer.text for answer in answers] == [wanted[0]["generated_text"] for wanted in expected]


@pytest.mark.parametrize("task", ["text-generation", "text-generation-with-past"])
def test_generation_ends_at_the_token_that_says_so(opened: Opened, task: str) -> None:
    ours, model = opened(task, "BertLMHeadModel", is_decoder=True)
    texts = [*TEXTS[:3], "The quick brown cat jumps over the lazy dog."]
    free = ours(texts, max_new_tokens=10)
    eos = [free[0].tokens[4], free[1].tokens[6]]
    for text, answer, unbound in zip(texts, ours(texts, max_new_tokens=10, eos_token_id=eos), free, strict=True):
        made = model.generate(
            **reference_tokenizer()(text, return_tensors="pt"),
            do_sample=False,
            max_new_tokens=10,
            pad_token_id=0,
            eos_token_id=eos,
        )[0].tolist()
        assert list(answer.tokens) == made[-len(answer.tokens) :]
        assert (answer.finished == "eos") == bool(set(eos) & set(unbound.tokens))


def test_generation_stops_where_the_positions_end(opened: Opened) -> None:
    ours, _ = opened("text-generation-with-past", "BertLMHeadModel", is_decoder=True)
    (answer,) = ours("word " * (MAX_LENGTH - 5), max_new_tokens=10)
    assert answer.finished == "positions"
    assert len(answer.tokens) == 3
