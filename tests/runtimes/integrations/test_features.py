"""scikit-learn and spaCy, each with the real library."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

TEXTS = ["hello world", "good night .", "my world"]


def test_scikit_learn(folder: Path, vectors: np.ndarray) -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from runtimes.integrations.scikit_learn import BertOnnxVectorizer

    vectorizer = BertOnnxVectorizer(folder, truncate_dim=3)
    np.testing.assert_allclose(clone(vectorizer).fit_transform(TEXTS), vectors[:, :3], atol=1e-6)
    assert vectorizer.get_feature_names_out().tolist() == ["embedding0", "embedding1", "embedding2"]
    classifier = make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, [0, 1, 0])
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert clone(classifier).set_params(bertonnxvectorizer__truncate_dim=None)[0].fit_transform(TEXTS).shape == (3, 4)
    frame = BertOnnxVectorizer(folder).fit_transform(np.array(TEXTS, dtype=object))
    np.testing.assert_allclose(frame, vectors, atol=1e-6)


def test_scikit_learns_own_checks(folder: Path) -> None:
    """Those that call no `fit` with numbers, which this transformer has no use for."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    from runtimes.integrations.scikit_learn import BertOnnxVectorizer

    for name in (
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_get_params_invariance",
        "check_set_params",
        "check_valid_tag_types",
    ):
        getattr(checks, name)("BertOnnxVectorizer", BertOnnxVectorizer(folder))


def test_spacy(folder: Path, vectors: np.ndarray) -> None:
    spacy = pytest.importorskip("spacy")
    import runtimes.integrations.spacy  # noqa: F401  # registers the factory

    nlp = spacy.blank("en")
    nlp.add_pipe("bert_onnx", config={"model": str(folder), "batch_size": 2})
    docs = list(nlp.pipe(TEXTS))
    np.testing.assert_allclose([doc.vector for doc in docs], vectors, atol=1e-6)
    np.testing.assert_allclose(nlp(TEXTS[1]).vector, vectors[1], atol=1e-6)
    cosine = vectors[0] @ vectors[2] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[2])
    assert docs[0].similarity(docs[2]) == pytest.approx(cosine, abs=1e-6)
