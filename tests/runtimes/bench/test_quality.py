"""Retrieval quality: NDCG@10 by hand, the built-in set, and an artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_artifacts import publish_toy

from bert_onnx.errors import UsageError
from runtimes.bench.quality import built_in_set, judge, retrieval_quality


@pytest.mark.parametrize(("place", "ndcg"), [(0, 1.0), (1, 1 / np.log2(3)), (9, 1 / np.log2(11)), (10, 0.0)])
def test_the_gain_of_one_right_document(place: int, ndcg: float) -> None:
    scores = -np.arange(20.0)[None]
    gains, recall = judge(scores, (frozenset({place}),))
    assert gains[0] == pytest.approx(ndcg)
    assert recall[0] == (place < 10)


def test_two_right_documents() -> None:
    gains, recall = judge(np.array([[3.0, 2.0, 1.0]]), (frozenset({0, 2}),))
    assert gains[0] == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))
    assert recall[0] == 1


def test_it_is_sklearns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    scores = random.normal(size=(5, 30))
    relevant = [set(random.choice(30, 3, replace=False)) for _ in range(5)]
    truth = np.array([[float(index in right) for index in range(30)] for right in relevant])
    ours = judge(scores, tuple(frozenset(map(int, right)) for right in relevant))[0]
    assert ours.mean() == pytest.approx(metrics.ndcg_score(truth, scores, k=10))


def test_the_built_in_set() -> None:
    found = built_in_set()
    assert len(found.queries) == 64
    assert len(set(found.documents)) == 96
    assert all(right for right in found.relevant)
    assert not set(found.queries) & set(found.documents)


def test_variants_of_equal_graphs_are_equal(tmp_path: Path) -> None:
    report = retrieval_quality(publish_toy(tmp_path / "toy"))
    assert len(report.variants) == 2
    first, second = report.variants
    assert first.difference is None
    assert second.difference is not None
    assert second.difference.value == second.difference.low == 0
    assert report.to_dict()["variants"][1]["ndcg"] == first.ndcg


def test_a_task_that_ranks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.bench.quality.TASKS", ("text-ranking",))
    with pytest.raises(UsageError, match="ranks no documents"):
        retrieval_quality(publish_toy(tmp_path / "toy"))
