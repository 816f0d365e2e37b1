"""Retrieval quality, in the way of NanoBEIR: NDCG@10 of each variant on a small built-in set of queries and documents.

The texts were written for this project: 96 documents of 24 everyday subjects, four on each, so that the nearest
wrong ones are close; 64 queries, in other words than their documents, with one right document each. It tells whether a
variant retrieves what fp32 retrieves. It does not tell how good a model is beside others: for that it is too small.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact
from bert_onnx.errors import RuntimeUnavailableError, UsageError
from runtimes.bench.compare import Interval, mean_interval
from runtimes.bench.queries import Progress
from runtimes.selection.request import RuntimeRequest

CUT = 10
#: Tasks of models that rank documents.
TASKS = ("sentence-similarity", "sparse-embedding", "late-interaction", "text-ranking")


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, queries, and for each query the indices of its documents."""

    documents: tuple[str, ...]
    queries: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]


@dataclass(frozen=True)
class VariantQuality:
    """One variant.

    Args:
        variant, precision, runtime: what ran.
        ndcg: NDCG@10, the mean over queries.
        recall: the share of right documents among the first ten.
        difference: of NDCG@10 from that of the first variant, over the same queries; None for the first itself.
    """

    variant: str
    precision: str
    runtime: str
    ndcg: float
    recall: float
    difference: Interval | None


@dataclass(frozen=True)
class QualityReport:
    """Every variant that runs here, and why the others do not."""

    variants: tuple[VariantQuality, ...]
    skipped: dict[str, str]
    queries: int
    documents: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def built_in_set() -> RetrievalSet:
    """The set that comes with this package."""
    text = resources.files("runtimes.bench").joinpath("retrieval.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    documents = {row["id"]: row["text"] for row in rows if "id" in row}
    place = {name: index for index, name in enumerate(documents)}
    asked = [row for row in rows if "query" in row]
    relevant = tuple(frozenset(place[name] for name in row["relevant"]) for row in asked)
    return RetrievalSet(tuple(documents.values()), tuple(row["query"] for row in asked), relevant)


def retrieval_quality(folder: str | os.PathLike[str], progress: Progress = lambda step, share: None) -> QualityReport:
    """NDCG@10 of every variant of the artifact that runs here.

    Raises:
        ArtifactError: the folder is missing or damaged.
        UsageError: the artifact's task ranks no documents.
        RuntimeUnavailableError: no variant runs here.
    """
    from runtimes.loading import load_request

    manifest = Artifact.open(folder).manifest
    if manifest.task not in TASKS:
        raise UsageError(
            f"{folder} is for {manifest.task}, which ranks no documents; `bert-onnx verify DIR --eval FILE` judges its "
            "variants on labelled texts."
        )
    texts = built_in_set()
    found: list[VariantQuality] = []
    skipped: dict[str, str] = {}
    first: np.ndarray | None = None
    for number, variant in enumerate(manifest.variants):
        progress(f"retrieving with {variant.name}", number / len(manifest.variants))
        try:
            with load_request(folder, RuntimeRequest(variant.name), check_hashes=False) as model:
                gains, recall = judge(_scores(model, manifest.task, texts), texts.relevant)
                runtime = model.describe().runtime.name
        except (RuntimeUnavailableError, UsageError) as error:
            skipped[variant.name] = str(error)
            continue
        difference = None if first is None else mean_interval(list(gains - first))
        first = gains if first is None else first
        found.append(
            VariantQuality(
                variant.name, variant.precision, runtime, float(gains.mean()), float(recall.mean()), difference
            )
        )
    if not found:
        raise RuntimeUnavailableError(f"nothing here runs {folder}: {next(iter(skipped.values()))}")
    return QualityReport(tuple(found), skipped, len(texts.queries), len(texts.documents))


def judge(scores: np.ndarray, relevant: tuple[frozenset[int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@10 and recall@10 of each query, float64 [N] each, of scores [N, M].

    A document is right or not, so that its gain is 1 or 0 and the discount of place i, from 1, is log2(i + 1)
    (Järvelin and Kekäläinen 2002; as in BEIR). Equal scores keep the order of the documents.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :CUT]
    discounts = 1 / np.log2(np.arange(CUT) + 2)
    gains, recalls = [], []
    for row, right in zip(order, relevant, strict=True):
        hits = np.array([index in right for index in row])
        gains.append(float(discounts[: len(hits)][hits].sum() / discounts[: min(CUT, len(right))].sum()))
        recalls.append(hits.sum() / len(right))
    return np.array(gains), np.array(recalls)


def _scores(model: Any, task: str, texts: RetrievalSet) -> np.ndarray:
    """How well each document fits each query, float [N, M]."""
    if task == "text-ranking":
        return np.stack([_ranked(model, query, texts) for query in texts.queries])
    encode: tuple[Callable[..., Any], Callable[..., Any]] = (model.encode_query, model.encode_document)
    scores: np.ndarray = model.similarity(
        encode[0](list(texts.queries), progress=False), encode[1](list(texts.documents), progress=False)
    )
    return scores


def _ranked(model: Any, query: str, texts: RetrievalSet) -> np.ndarray:
    scores = np.empty(len(texts.documents))
    for one in model.rank(query, texts.documents):
        scores[one.corpus_id] = one.score
    return scores
