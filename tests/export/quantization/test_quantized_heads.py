"""Every head of a tiny random model in integers: it runs, stays close, and answers the same in any company."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from float16_samples import finished  # first: it makes the next one importable

from export_samples import WORDS  # isort: skip
from tiny_encoder import operators, run

from bert_onnx.tasks import TASKS, Port
from bert_onnx.tokenization import BertTokenizerFast
from export.quantization.feeds import CalibrationFeeds, Feed, calibration_feeds, make_feeds
from export.quantization.int8.closeness import Closeness
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.int8.static import quantize_static
from export.quantization.isa import ISAS
from export.quantization.result import QuantizationResult
from export.quantization.weight_only.quantize import quantize_weights

pytestmark = pytest.mark.slow

VNNI = ISAS["avx512_vnni"]
METHODS: dict[str, Callable[[ir.Model, CalibrationFeeds], QuantizationResult]] = {
    "static": lambda model, feeds: quantize_static(model, VNNI, feeds, Closeness(0.5, 0.1)),
    "dynamic": lambda model, feeds: quantize_dynamic(model, VNNI),
    "weights": lambda model, feeds: quantize_weights(model, "int8", feeds=feeds.fit),
    "nbits": lambda model, feeds: quantize_weights(model, "int4", nbits=True, feeds=feeds.fit),
}

#: Largest error relative to the size of the outputs.
LIMITS = {"static": 0.1, "dynamic": 0.1, "weights": 0.05, "nbits": 0.6}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return BertTokenizerFast(vocab_file=path)


@cache
def texts() -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    return tuple(" ".join(rng.choice(WORDS[5:14], size=int(rng.integers(3, 24)))) for _ in range(40))


def quantized(
    task: str, target: str, method: str, tokenizer: BertTokenizerFast
) -> tuple[ir.Model, QuantizationResult, tuple[Port, ...]]:
    model, eager = finished(task, target)
    ports = eager.module.inputs
    return model, METHODS[method](model, calibration_feeds(texts(), ports, tokenizer, 30)), ports


def feed_of(ports: tuple[Port, ...], tokenizer: BertTokenizerFast) -> Feed:
    rng = np.random.default_rng(7)
    unseen = [" ".join(rng.choice(WORDS[5:14], size=size)) for size in (21, 20, 18, 9, 4)]
    (feed,) = make_feeds(unseen * 5, ports, tokenizer, 30)
    return Feed({name: array[::5] for name, array in feed.inputs.items()}, feed.mask[::5])


def taken(model: ir.Model, feed: Feed) -> dict[str, np.ndarray]:
    names = {value.name for value in model.graph.inputs}
    return run(model, **{name: array for name, array in feed.inputs.items() if name in names})


def real(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return array[mask] if array.shape[:2] == mask.shape else array


def check_close(model: ir.Model, other: ir.Model, feed: Feed, limit: float) -> None:
    expected, found = taken(model, feed), taken(other, feed)
    assert expected.keys() == found.keys()
    for name in expected:
        assert expected[name].shape == found[name].shape
        assert found[name].dtype == np.float32
        assert np.isfinite(found[name]).all()
        if not name.startswith("present"):
            a, b = real(expected[name], feed.mask), real(found[name], feed.mask)
            assert np.linalg.norm(a - b) < limit * np.linalg.norm(a), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_every_head_of_the_portable_graph(task: str, method: str, tokenizer: BertTokenizerFast) -> None:
    model, found, ports = quantized(task, "portable", method, tokenizer)
    assert {name.removeprefix("bert/") for record in found.records for name in record.nodes} >= {
        f"encoder/layer.{layer}/{part}/MatMul"
        for layer in (0, 1)
        for part in ("attention/self/query", "attention/self/value", "intermediate/dense", "output/dense")
    }
    check_close(model, found.model, feed_of(ports, tokenizer), LIMITS[method])


def test_batches_of_several_lengths(tokenizer: BertTokenizerFast) -> None:
    """Texts that fill more than one batch: the search compares scores of tokens over all of them."""
    model, eager = finished("question-answering", "portable")
    many = tuple(" ".join(words) for words in np.random.default_rng(1).choice(WORDS[5:14], (400, 9)))
    feeds = calibration_feeds((*texts(), *many), eager.module.inputs, tokenizer, 30)
    assert len({feed.mask.shape[1] for feed in feeds.held_out}) > 1
    found = METHODS["static"](model, feeds)
    check_close(model, found.model, feed_of(eager.module.inputs, tokenizer), LIMITS["static"])


@pytest.mark.parametrize("method", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("sentence-similarity", "ort-cpu-unpadded"),
        ("sentence-similarity", "openvino"),
        ("sentence-similarity", "web"),
        ("token-classification", "openvino-unpadded"),
    ],
)
def test_other_targets(task: str, target: str, method: str, tokenizer: BertTokenizerFast) -> None:
    model, found, ports = quantized(task, target, method, tokenizer)
    assert len(found.records) == 8
    check_close(model, found.model, feed_of(ports, tokenizer), LIMITS[method])


@pytest.mark.parametrize("method", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("sentence-similarity", "portable"),
        ("sentence-similarity", "ort-cpu-unpadded"),
        ("text-classification", "portable"),
        ("token-classification", "openvino-unpadded"),
        ("question-answering", "portable"),
    ],
)
def test_company_changes_nothing(task: str, target: str, method: str, tokenizer: BertTokenizerFast) -> None:
    _, found, ports = quantized(task, target, method, tokenizer)
    feed = feed_of(ports, tokenizer)
    together = taken(found.model, feed)
    for row, mask in enumerate(feed.mask):
        length = int(mask.sum())
        one = Feed({name: array[row : row + 1, :length] for name, array in feed.inputs.items()}, mask[None, :length])
        for name, array in taken(found.model, one).items():
            there = together[name][row]
            there = there[:length] if together[name].shape[:2] == feed.mask.shape else there
            np.testing.assert_allclose(array[0], there, atol=1e-5 * max(1.0, float(np.abs(there).max())))


def test_what_a_fused_graph_hides_stays_float(tokenizer: BertTokenizerFast) -> None:
    """com.microsoft.Attention holds the projections, so that 3 of 4 places a layer are left."""
    model, found, _ = quantized("sentence-similarity", "ort-cpu", "dynamic", tokenizer)
    assert len(found.records) == 6
    assert operators(found.model)["Attention"] == operators(model)["Attention"] == 2
