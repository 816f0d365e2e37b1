"""The benchmark of graphs: its batches are what they say, its ratios point the right way, its tables hold them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.graphs.batches import Batch, Texts
from benchmarks.graphs.measure import Comparison, Timing, compare, operations
from benchmarks.graphs.models import OURS, sample_folder
from benchmarks.graphs.report import ratio_table, spread, time_table, wanted_ratio
from bert_onnx.config import BertConfig


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts(sample_folder(), 256)


@pytest.mark.parametrize(("rows", "length", "fill"), [(32, 256, 0.2), (32, 256, 0.4), (32, 36, 0.4), (8, 128, 0.3)])
def test_mixed_batches(texts: Texts, rows: int, length: int, fill: float) -> None:
    batch = texts.mixed(rows, length, fill)
    mask = batch.inputs["attention_mask"]
    assert mask.shape == (rows, length)
    assert (mask.sum(1) == batch.lengths).all()
    assert batch.lengths.max() == length
    assert batch.fill == pytest.approx(fill, abs=0.02)
    assert (mask[:, 1:] <= mask[:, :-1]).all(), "padding is on the right"
    assert (batch.inputs["input_ids"][mask == 0] == 0).all()
    assert len({row.tobytes() for row in batch.inputs["input_ids"]}) > rows // 2, "texts differ"
    again = texts.mixed(rows, length, fill)
    assert all((again.inputs[name] == array).all() for name, array in batch.inputs.items())


def test_full_batches(texts: Texts) -> None:
    batch = texts.full(8, 128)
    assert batch.fill == 1.0
    assert batch.inputs["input_ids"].shape == (8, 128)
    assert len(np.unique(batch.inputs["input_ids"])) > 100


def test_operations_of_bert_base() -> None:
    """2 L (4 D^2 + 2 D F) is twice the 85 million weights of the layers; attention adds 4 L n D a token."""
    config = BertConfig()
    one = operations(config, np.array([1]))
    assert one == 2 * 84_934_656 + 4 * 12 * 768
    assert operations(config, np.array([128, 128])) == 2 * operations(config, np.array([128]))
    assert operations(config, np.array([256])) > 2 * operations(config, np.array([128]))


def comparison(fill: float) -> Comparison:
    mask = np.zeros((2, 100), np.int64)
    mask[:, : round(fill * 100)] = 1
    batch = Batch("2x100", {"attention_mask": mask}, mask.sum(1))
    times = dict.fromkeys(OURS, 0.1)
    ours = [Timing(f"ours: {name}", True, np.full(5, time), 1e-6) for name, time in times.items()]
    peers = [Timing(name, False, np.full(5, time), 1e-6) for name, time in (("slow", 0.4), ("fast", 0.25))]
    products = np.full((5, 2), [0.02, 0.01])
    return Comparison("model", batch, (*ours, *peers), needed=2 * 2048**3 * 2.0, products=products)


def test_ratio_is_the_best_peers_time_to_ours() -> None:
    one = comparison(0.3)
    assert one.best_peer.name == "fast"
    ours = one.find(f"ours: {OURS[0]}")
    np.testing.assert_allclose(one.ratios(ours), 2.5)
    np.testing.assert_allclose(one.ratios(ours, one.find("slow")), 4.0)
    assert spread(np.array([2.0, 2.5, 3.0, 2.5, 2.5])) == "2.50x (2.50-2.50)"


@pytest.mark.parametrize(("fill", "ratio"), [(0.1, 3.0), (0.2, 3.0), (0.21, 3.0), (0.3, 2.0), (0.4, 2.0), (0.6, None)])
def test_wanted_ratio(fill: float, ratio: float | None) -> None:
    assert wanted_ratio(comparison(fill)) == ratio


def test_wanted_ratio_without_padding() -> None:
    assert wanted_ratio(comparison(1.0)) == 0.97


def test_tables() -> None:
    lines = ratio_table([comparison(0.3)]).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1
    assert "fast, 250 ms" in lines[2]
    assert "2.50x (2.50-2.50)" in lines[2]
    assert "400 ms, 5%" in time_table([comparison(0.3)])


def test_compare_measures_what_it_runs(texts: Texts) -> None:
    """Stand-ins for engines: one is off by 0.5 on real tokens, and by more at padding, which does not count."""
    from benchmarks.graphs.engines import Engine

    batch = texts.mixed(2, 8, 0.7)
    mask = batch.inputs["attention_mask"][..., None].astype(np.float32)

    def reference(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.zeros((*inputs["input_ids"].shape, 4), np.float32)

    def other(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return reference(inputs) + 0.5 * mask + 9 * (1 - mask)

    engines = [Engine("ours", True, reference), Engine("peer", False, other)]
    found = compare("model", BertConfig(), engines, reference, [lambda: sum(range(1000))], batch, seconds=0.0)
    assert [timing.difference for timing in found.timings] == [0.0, 0.5]
    assert {len(timing.seconds) for timing in found.timings} == {2}


def test_share_is_of_the_faster_product() -> None:
    """Twice the operations of a product that takes 10 ms, in 250 ms."""
    one = comparison(1.0)
    assert one.share(one.find("fast")) == pytest.approx(2 * 0.01 / 0.25)


def test_openings_are_joined() -> None:
    one = comparison(0.3)
    both = one.joined(one)
    assert [len(timing.seconds) for timing in both.timings] == [10] * len(one.timings)
    assert both.products.shape == (10, 2)
    assert both.best_peer.name == "fast"


def test_without_padding_the_best_peer_runs_on_onnxruntime() -> None:
    one = comparison(1.0)
    slow = Timing("optimum raw", False, np.full(5, 0.3), 1e-6)
    joined = Comparison(one.model, one.batch, (*one.timings, slow), one.needed, one.products)
    assert joined.best_peer.name == "optimum raw"
