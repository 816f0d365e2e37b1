"""Graphs that skip padding see few lengths on OpenVINO, and nobody who asks notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from bert_onnx.config import BertConfig
from bert_onnx.tasks import TaskOptions, find_task, input_ports, output_ports
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.few_lengths import narrowed, widened
from runtimes.engines.openvino import OpenVino

CONFIG = BertConfig(
    vocab_size=50, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=40
)
TASK = find_task("sentence-similarity")
INPUTS = input_ports(TASK, CONFIG)
OUTPUTS = output_ports(TASK, CONFIG, TaskOptions())
CHOICES = input_ports(find_task("multiple-choice"), CONFIG)
#: Finds the tokens that are not hidden, and gives each its id and its type; their mean is the embedding.
GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
skips_padding (int64[B, S] input_ids, int64[B, S] attention_mask, int64[B, S] token_type_ids)
    => (float[B, S, 2] last_hidden_state, float[B, 2] sentence_embedding)
<int64[1] last = {2}, int64[1] second = {1}, float[1] nothing = {0.0}, int64[1] two = {2}> {
    found = NonZero(attention_mask)
    places = Transpose<perm = [1, 0]>(found)
    ids = GatherND(input_ids, places)
    types = GatherND(token_type_ids, places)
    id_column = Unsqueeze(ids, second)
    type_column = Unsqueeze(types, second)
    pairs = Concat<axis = 1>(id_column, type_column)
    packed = Cast<to = 1>(pairs)
    shape = Shape(input_ids)
    wide = Concat<axis = 0>(shape, two)
    empty = Expand(nothing, wide)
    last_hidden_state = ScatterND(empty, places, packed)
    total = ReduceSum<keepdims = 0>(last_hidden_state, second)
    mask = Cast<to = 1>(attention_mask)
    count = ReduceSum<keepdims = 1>(mask, second)
    sentence_embedding = Div(total, count)
}
"""


def _arrays(rows: int, length: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(length)
    mask = random.integers(0, 2, (rows, length))
    mask[:, 0] = 1
    return {
        "input_ids": random.integers(1, CONFIG.vocab_size, (rows, length)),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, (rows, length)),
    }


@pytest.mark.parametrize(("length", "wide"), [(1, 16), (16, 16), (17, 32), (33, 40), (40, 40)])
def test_lengths_become_multiples_of_16_up_to_the_longest(length: int, wide: int) -> None:
    given = _arrays(3, length)
    found, had = widened(given, INPUTS, CONFIG.longest_sequence)
    assert had == (None if wide == length else length)
    for name, array in found.items():
        assert array.shape == (3, wide)
        assert array.dtype == given[name].dtype
        np.testing.assert_array_equal(array[:, :length], given[name])
        assert not array[:, length:].any()


def test_choices_and_outputs_of_one_value_a_row_keep_their_other_axes() -> None:
    given = {port.name: np.ones((2, 3, 5), np.int64) for port in CHOICES}
    found, had = widened(given, CHOICES, 512)
    assert had == 5
    assert {array.shape for array in found.values()} == {(2, 3, 16)}
    outputs = {"last_hidden_state": np.zeros((2, 16, 2)), "sentence_embedding": np.zeros((2, 20))}
    kept = narrowed(outputs, OUTPUTS, 5)
    assert kept["last_hidden_state"].shape == (2, 5, 2)
    assert kept["sentence_embedding"].shape == (2, 20)


@pytest.mark.parametrize("length", [1, 15, 16, 18, 39, 40])
def test_openvino_sees_them_and_returns_what_was_asked(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    given = _arrays(3, length)
    seen: list[tuple[int, ...]] = []
    with OpenVino.open(path, INPUTS, OUTPUTS, RuntimeOptions(threads=1), CONFIG) as runtime:
        engine: Any = runtime._engine
        request = engine.request()

        class Watched:
            def infer(self, inputs: dict[str, np.ndarray], **options: Any) -> Any:
                seen.append(inputs["input_ids"].shape)
                return request.infer(inputs, **options)

        monkeypatch.setattr(engine.requests, "value", Watched())
        outputs = runtime.run(given)
    assert seen == [(3, min(40, -(-length // 16) * 16))]
    expected = np.stack([given["input_ids"], given["token_type_ids"]], -1) * given["attention_mask"][..., None]
    np.testing.assert_array_equal(outputs["last_hidden_state"], expected.astype(np.float32))
    mean = expected.sum(1) / given["attention_mask"].sum(1, keepdims=True)
    np.testing.assert_allclose(outputs["sentence_embedding"], mean, rtol=1e-6)
