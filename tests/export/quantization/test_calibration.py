"""Calibration: batches of text, statistics without padding, bounded memory, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tiny_encoder import PORTS, run, sentences, set_weight, tiny_encoder, tiny_tokenizer, weight

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tasks import BATCH, CHOICES, PAST, SEQUENCE, Port
from export.quantization.feeds import Feed, calibration_feeds, make_feeds
from export.quantization.int8.calibration import Calibration, expose, real_rows
from export.quantization.int8.groups import find_groups
from export.quantization.sessions import GraphSession

TYPES = Port("token_type_ids", "int64", (BATCH, SEQUENCE))


def test_batches_hold_every_text_and_mask_the_padding(tmp_path: Path) -> None:
    tokenizer, texts = tiny_tokenizer(tmp_path), sentences(150)
    feeds = make_feeds(texts, PORTS, tokenizer, 40)
    assert len(feeds) > 2
    assert sum(len(feed.mask) for feed in feeds) == 150
    for feed in feeds:
        np.testing.assert_array_equal(feed.mask, feed.inputs["attention_mask"] == 1)
        assert (feed.inputs["input_ids"][~feed.mask] == tokenizer.pad_token_id).all()
        assert feed.mask.size <= 1024


def test_texts_are_cut(tmp_path: Path) -> None:
    feeds = make_feeds(sentences(60), PORTS, tiny_tokenizer(tmp_path), 9)
    assert max(feed.mask.shape[1] for feed in feeds) == 9


def test_caches_are_empty_and_choices_are_one(tmp_path: Path) -> None:
    choices = tuple(Port(port.name, "int64", (BATCH, CHOICES, SEQUENCE)) for port in (*PORTS, TYPES))
    cache = Port("past_key_values.0.key", "float32", (BATCH, 2, PAST, 16))
    (feed, *_) = make_feeds(sentences(60), (*choices, cache), tiny_tokenizer(tmp_path), 40)
    assert feed.inputs["token_type_ids"].shape == (len(feed.mask), 1, feed.mask.shape[1])
    assert feed.inputs[cache.name].shape == (len(feed.mask), 2, 0, 16)


def test_what_cannot_be_made_from_text_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path)
    for axes in ((BATCH, "encoder_sequence_length", 32), (BATCH, SEQUENCE, 32)):
        with pytest.raises(UsageError, match="the input states cannot be made from text"):
            make_feeds(sentences(60), (*PORTS, Port("states", "float32", axes)), tokenizer, 40)


@pytest.mark.parametrize("texts", [[], ["the cat"] * 100, ["", " ", "\n"], sentences(15)])
def test_too_few_texts_are_refused(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"calibration text has \d+ different texts; at least 16"):
        calibration_feeds(texts, PORTS, tiny_tokenizer(tmp_path), 40)


def test_doubles_and_empty_texts_are_left_out_and_one_text_in_four_is_held_out(tmp_path: Path) -> None:
    tokenizer, texts = tiny_tokenizer(tmp_path), sentences(80)
    found = calibration_feeds([*texts, "  ", *texts], PORTS, tokenizer, 40)
    assert [sum(len(feed.mask) for feed in feeds) for feeds in (found.fit, found.held_out)] == [60, 20]
    (held_out,) = make_feeds(texts[::4], PORTS, tokenizer, 40, fewest_tokens=0)
    np.testing.assert_array_equal(found.held_out[0].inputs["input_ids"], held_out.inputs["input_ids"])


def test_too_short_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"have \d+ tokens in all; at least 256"):
        make_feeds(["cat", "dog", "bird"], PORTS, tiny_tokenizer(tmp_path), 40)


def test_statistics_are_those_of_real_tokens(tmp_path: Path) -> None:
    model, feeds = tiny_encoder(), make_feeds(sentences(80), PORTS, tiny_tokenizer(tmp_path), 40)
    groups = find_groups(model)
    found = dict(Calibration(model, groups, feeds).every())
    assert list(found) == list(groups)
    for group in groups:
        exposed = expose(model, [group.source])
        rows = np.concatenate([run(exposed, **feed.inputs)[group.source][feed.mask] for feed in feeds])
        statistics = found[group]
        assert statistics.count == len(rows)
        np.testing.assert_allclose(statistics.low, rows.min(axis=0), atol=1e-5)
        np.testing.assert_allclose(statistics.high, rows.max(axis=0), atol=1e-5)
        np.testing.assert_array_equal(statistics.low <= statistics.fit_low, True)
        assert statistics.rows.shape == rows.shape
        assert 0 < len(statistics.judge) < len(rows)


def test_padding_has_no_part_in_the_statistics(tmp_path: Path) -> None:
    model, feeds = tiny_encoder(), make_feeds(sentences(60), PORTS, tiny_tokenizer(tmp_path), 40)
    table = weight(model, "embeddings.weight")
    table[0] = 1e4 * np.arange(32)  # LayerNorm tames it; what is left is far from any word
    set_weight(model, "embeddings.weight", table)
    other = [Feed({**f.inputs, "input_ids": np.where(f.mask, f.inputs["input_ids"], 7)}, f.mask) for f in feeds]
    for (_, with_pad), (_, without) in zip(
        Calibration(model, find_groups(model), feeds).every(),
        Calibration(model, find_groups(model), other).every(),
        strict=True,
    ):
        np.testing.assert_allclose(with_pad.low, without.low, atol=1e-4)
        np.testing.assert_allclose(with_pad.high, without.high, atol=1e-4)


def test_rows_of_packed_tokens_are_all_real() -> None:
    mask = np.array([[True, True], [True, False]])
    assert len(real_rows(np.zeros((2, 2, 5)), mask)) == 3
    assert len(real_rows(np.zeros((3, 5)), mask)) == 3
    assert len(real_rows(np.zeros((4, 5)), mask)) == 4  # no padding, packed


def test_groups_and_fewer_rows_change_no_bounds(tmp_path: Path) -> None:
    model, feeds = tiny_encoder(), make_feeds(sentences(80), PORTS, tiny_tokenizer(tmp_path), 40)
    groups = find_groups(model)
    whole, parts = (
        dict(Calibration(model, groups, feeds).every()),
        dict(Calibration(model, groups, feeds, rows=100, max_bytes=15000).every()),
    )
    for group in groups:
        np.testing.assert_array_equal(whole[group].low, parts[group].low)
        np.testing.assert_array_equal(whole[group].high, parts[group].high)
        assert len(parts[group].rows) < 160


@pytest.mark.parametrize(("max_bytes", "kept"), [(2**29, True), (15000, False)])
def test_statistics_are_gathered_again_only_where_they_did_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int, kept: bool
) -> None:
    model, feeds = tiny_encoder(), make_feeds(sentences(80), PORTS, tiny_tokenizer(tmp_path), 40)
    calibration = Calibration(model, find_groups(model), feeds, rows=100, max_bytes=max_bytes)
    opened: list[ir.Model] = []

    class Counted(GraphSession):
        def __init__(self, graph: ir.Model) -> None:
            opened.append(graph)
            super().__init__(graph)

    monkeypatch.setattr("export.quantization.int8.calibration.GraphSession", Counted)
    first = dict(calibration.every())
    before = len(opened)
    assert (before == 1) == kept
    for group, statistics in first.items():
        again = calibration.of(group)
        np.testing.assert_array_equal(again.low, statistics.low)
        np.testing.assert_array_equal(again.rows, statistics.rows)
        np.testing.assert_array_equal(again.judge, statistics.judge)
    assert len(opened) - before == (0 if kept else len(first))


def test_an_activation_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    model, feeds = tiny_encoder(), make_feeds(sentences(60), PORTS, tiny_tokenizer(tmp_path), 40)
    set_weight(model, "attention/norm.bias", np.full(32, np.nan))
    with pytest.raises(InputError, match="what ffn1/MatMul reads is not finite"):
        list(Calibration(model, find_groups(model), feeds).every())
