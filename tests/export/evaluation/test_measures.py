"""Measures of every task on tiny models: equal answers score 1, other answers do not, labels are scored by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_samples import NoisyRuntime, reference, sample_texts, sentences, tiny_subject

from bert_onnx.errors import InputError, TokenizerError
from bert_onnx.tasks import TASKS, TaskOptions
from export.evaluation.evaluation import Evaluation
from export.evaluation.examples import Example, TextSet
from export.evaluation.measures import MEASURES
from export.evaluation.measures.vocabulary import MaskMeasure
from export.evaluation.subject import Subject

#: What each task's answers are judged by.
FIGURES = {
    "feature-extraction": {"cosine_mean", "cosine_min", "neighbour_agreement", "spearman"},
    "sentence-similarity": {"cosine_mean", "cosine_min", "neighbour_agreement", "spearman"},
    "sparse-embedding": {"cosine_mean", "cosine_min", "neighbour_agreement", "spearman"},
    "late-interaction": {"cosine_mean", "cosine_min", "neighbour_agreement", "spearman"},
    "fill-mask": {"top1_agreement", "top5_agreement"},
    "pretraining": {"top1_agreement", "top5_agreement"},
    "next-sentence-prediction": {"label_agreement", "kl_mean"},
    "text-classification": {"label_agreement", "kl_mean"},
    "text-ranking": {"spearman"},
    "token-classification": {"label_agreement", "kl_mean"},
    "multiple-choice": {"label_agreement", "kl_mean"},
    "question-answering": {"span_agreement"},
    "text-generation": {"next_token_agreement"},
    "text-generation-with-past": {"next_token_agreement"},
}


def labelled(*examples: Example, fill: int = 24) -> TextSet:
    """`examples`, and texts without labels so that there are enough."""
    others = [Example(text, f"other {i}") for i, text in enumerate(sentences(fill))]
    return TextSet("labelled", "0" * 64, (*examples, *others))


def figures_of(folder: Path, task: str, texts: TextSet, noise: float = 0.0, **changes: Any) -> dict[str, float]:
    subject, eager = tiny_subject(folder, task, **changes)
    runtime = reference(eager)
    return Evaluation(subject, texts, runtime).figures(NoisyRuntime(runtime, noise))


def test_every_task_has_a_measure() -> None:
    assert set(MEASURES) == set(TASKS) == set(FIGURES)


@pytest.mark.parametrize("task", TASKS)
def test_the_reference_agrees_with_itself(tmp_path: Path, task: str) -> None:
    figures = figures_of(tmp_path, task, sample_texts())
    assert set(figures) == FIGURES[task]
    for name, figure in figures.items():
        assert figure == pytest.approx(0.0 if name == "kl_mean" else 1.0, abs=1e-12), name


@pytest.mark.parametrize("task", TASKS)
def test_other_answers_are_noticed(tmp_path: Path, task: str) -> None:
    figures = figures_of(tmp_path, task, sample_texts(), noise=30.0)
    for name, figure in figures.items():
        assert figure > 0.1 if name == "kl_mean" else figure < 0.95, name


def test_a_decoder_that_reads_an_encoder_is_measured(tmp_path: Path) -> None:
    changes = {"add_cross_attention": True}
    assert figures_of(tmp_path, "text-generation-with-past", sample_texts(), **changes) == {"next_token_agreement": 1.0}


def test_vectors_of_feature_extraction_are_means_over_real_tokens(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "feature-extraction")
    texts = ["the cat", "a dog ran on the mat ."]
    measure = MEASURES["feature-extraction"](subject, [Example(text) for text in texts])
    vectors = measure.predict(reference(eager))
    for text, vector in zip(texts, vectors, strict=True):
        arrays = subject.arrays(reference(eager), subject.encode([text]))
        alone = reference(eager).run(arrays)["last_hidden_state"][0]
        np.testing.assert_allclose(vector, alone.mean(axis=0), atol=1e-5)


def test_cosine_and_neighbours_by_hand(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "sentence-similarity")
    measure = MEASURES["sentence-similarity"](subject, [Example(text) for text in ("the", "a", "cat", "dog")])
    expected = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.2, 1.0]])
    found = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.3]])
    figures = measure.compare(expected, found)
    last = (0.2 * 1 + 1 * 0.3) / np.sqrt(1.04 * 1.09)
    assert figures["cosine_min"] == pytest.approx(last)
    assert figures["cosine_mean"] == pytest.approx((3 + last) / 4)
    assert figures["neighbour_agreement"] == 0.75


def test_pairs_with_similarities_are_scored(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "sentence-similarity")
    examples = [
        Example("the", pair="a", label="0.1"),
        Example("the", pair="cat", label=3),
        Example("a", pair="dog", label=2),
    ]
    measure = MEASURES["sentence-similarity"](subject, examples)
    assert measure.count == 4  # the, a, cat, dog
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2], [1.0, 1.0]])  # cosines 0, 0.98, 0.71
    assert measure.score(vectors) == {"spearman_gold": pytest.approx(1.0)}
    with pytest.raises(InputError, match="row 9: the similarity 'alike' is not a number"):
        MEASURES["sentence-similarity"](subject, [Example("the", "row 9", pair="a", label="alike")])


def test_classification_is_scored_and_compared_with_the_reference(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "text-classification")
    runtime = reference(eager)
    texts = sentences(30)
    logits = MEASURES["text-classification"](subject, [Example(text) for text in texts]).predict(runtime)
    right = logits.argmax(axis=1)
    # Every third label is wrong, so that the reference is right for two thirds.
    labels = [int(label) if i % 3 else (int(label) + 1) % 3 for i, label in enumerate(right)]
    names = [f"LABEL_{label}" if i % 2 else str(label) for i, label in enumerate(labels)]
    examples = tuple(Example(text, label=name) for text, name in zip(texts, names, strict=True))
    figures = Evaluation(subject, TextSet("t", "0" * 64, examples), runtime).figures(NoisyRuntime(runtime, 30.0))
    assert figures["accuracy_reference"] == pytest.approx(2 / 3)
    assert figures["accuracy"] < 2 / 3
    assert figures["metric_loss"] == pytest.approx(2 / 3 - figures["accuracy"])


@pytest.mark.parametrize("label", ["LABEL_7", "3", 3, -1, 1.5, "good", "²"])
def test_a_label_that_the_model_lacks(tmp_path: Path, label: Any) -> None:
    with pytest.raises(InputError, match=r"row 4: the label .* is none of the model's 3"):
        figures_of(tmp_path, "text-classification", labelled(Example("the cat", "row 4", label=label)))


def test_several_labels_at_once_are_a_yes_or_no_each(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "text-classification", problem_type="multi_label_classification")
    measure = MEASURES["text-classification"](subject, [Example("the"), Example("a")])
    expected, found = np.array([[1.0, -2, 3], [1, 1, 1]]), np.array([[1.0, 2, 3], [1, 1, -1]])
    figures = measure.compare(expected, found)
    assert figures["label_agreement"] == pytest.approx(4 / 6)
    assert figures["kl_mean"] > 0.1


def test_a_regression_orders_texts(tmp_path: Path) -> None:
    examples = [Example(text, label=float(i)) for i, text in enumerate(sentences(24))]
    texts = TextSet("t", "0" * 64, tuple(examples))
    figures = figures_of(tmp_path, "text-classification", texts, num_labels=1)
    assert figures["spearman"] == 1.0
    assert figures["spearman_gold"] == figures["spearman_gold_reference"]
    assert figures["metric_loss"] == 0.0


def test_pairs_and_single_texts_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other 0 has no second text"):
        figures_of(tmp_path, "text-classification", labelled(Example("the cat", pair="a dog")))


def test_words_with_labels_are_scored_by_their_first_token(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "token-classification", num_hidden_layers=1)
    subject = replace(subject, config=subject.config.replace(id2label={0: "O", 1: "B-PET", 2: "I-PET"}))
    words = Example("x", words=("cats", "ran", "dogs"), tags=("B-PET", "O", 1))
    measure = MEASURES["token-classification"](subject, [words])
    # [CLS] cat ##s ran dog ##s [SEP]: cats is right, ran is not (B-PET), dogs is not (O); ##s is not asked.
    classes = [2, 1, 2, 1, 0, 2, 2]
    logits = np.eye(3)[classes]
    assert measure.score([logits]) == {"token_f1": pytest.approx(2 * 1 / (2 + 2)), "accuracy": pytest.approx(1 / 3)}
    special_only = np.eye(3)[[0, 1, 2, 1, 0, 2, 0]]
    assert measure.compare([logits], [special_only])["label_agreement"] == 1.0
    tokens = np.eye(3)[[2, 1, 2, 1, 0, 0, 2]]
    assert measure.compare([logits], [tokens])["label_agreement"] == pytest.approx(4 / 5)


def test_answers_to_questions_are_scored(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "question-answering")
    asked = [Example("the cat", pair="a dog ran on the mat ."), Example("a dog", pair="the cat sat .")]
    answers = MEASURES["question-answering"](subject, asked).predict(reference(eager))
    known = [Example(e.text, pair=e.pair, answers=(answer.answer,)) for e, answer in zip(asked, answers, strict=True)]
    measure = MEASURES["question-answering"](subject, [*known[:1], Example("the cat", pair="a dog", answers=("moon",))])
    assert measure.score([answers[0], answers[1]]) == {"f1": 0.5, "exact_match": 0.5}


def test_choices_of_different_numbers(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "multiple-choice")
    examples = [
        Example("the cat", choices=("sat", "ran"), label=0),
        Example("a dog", choices=("sat", "ran", "on the mat"), label="on the mat"),
        Example("the dog", choices=("ran on", "sat")),
    ]
    measure = MEASURES["multiple-choice"](subject, examples)
    logits = measure.predict(reference(eager))
    assert [len(own) for own in logits] == [2, 3, 2]
    assert measure.score([np.array([1.0, 0]), np.array([1.0, 0, 0]), np.array([0.0, 1])]) == {"accuracy": 0.5}
    with pytest.raises(InputError, match="the label 2 is none of its 2 choices"):
        MEASURES["multiple-choice"](subject, [Example("the", choices=("a", "cat"), label=2)])


def masked_places(subject: Subject, text: str) -> list[int]:
    return MaskMeasure(subject, [Example(text)])._places[0]


def test_masks_are_the_same_wherever_and_whenever_they_are_drawn(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "fill-mask")
    text = "the cat sat on the mat . a dog ran on the mat ."
    alone = masked_places(subject, text)
    assert alone == MaskMeasure(subject, [Example("a dog"), Example(text)])._places[1]
    assert len(alone) == round(0.15 * 14)
    assert all(0 < place <= 14 for place in alone)  # never [CLS] or [SEP]


def test_masks_of_the_text_itself_are_kept(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "fill-mask")
    assert masked_places(subject, "the [MASK] sat on the [MASK] .") == [2, 6]


def test_texts_without_a_token_are_left_out(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "fill-mask")
    measure = MaskMeasure(subject, [Example("\u200b"), Example("the cat")])
    assert measure.count == 1
    assert measure.predict(reference(eager)).shape == (1, 5)


def test_a_tokenizer_without_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, _ = tiny_subject(tmp_path, "fill-mask")
    monkeypatch.setattr(type(subject.tokenizer), "mask_token_id", None)
    with pytest.raises(TokenizerError, match="no mask token"):
        MaskMeasure(subject, [Example("the cat")])


def test_the_reference_answers_once(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "sentence-similarity")
    runtime, calls = reference(eager), []
    counted = NoisyRuntime(runtime, 0.0)
    answer = counted.run
    counted.run = lambda *given: (calls.append(1), answer(*given))[1]  # type: ignore[method-assign]
    evaluation = Evaluation(subject, sample_texts(), counted)
    for _ in range(3):
        evaluation.figures(runtime)
    assert len(calls) == 2  # 24 texts in batches of 16


def test_too_few_texts_say_so(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "sentence-similarity")
    with pytest.raises(InputError, match="sample texts has 19 different texts; evaluation needs at least 20"):
        Evaluation(subject, sample_texts(19), reference(eager))


def test_a_subject_without_a_tokenizer(tmp_path: Path) -> None:
    subject, _ = tiny_subject(tmp_path, "sentence-similarity")
    found = Subject.of_artifact(tmp_path, subject.task, TaskOptions(), subject.config, 999)
    assert found.max_length == subject.config.max_position_embeddings
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(TokenizerError, match="the checkpoint has no tokenizer"):
        Subject.of_artifact(tmp_path, subject.task, TaskOptions(), subject.config, 40)
