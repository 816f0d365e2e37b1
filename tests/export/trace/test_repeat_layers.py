"""A graph whose layers were repeated is that of a full trace, byte by byte; where layers differ, all are traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from export_samples import tiny_eager

import export.trace.tracer as tracer
from bert_onnx.tasks import TaskOptions
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.reference.load import Eager
from export.targets import TARGETS
from export.trace.repeat_layers import first_layer_only, layers_are_alike, repeat_layer

pytestmark = pytest.mark.long

LAYERS = 3


def published_bytes(eager: Eager, path: Path) -> bytes:
    model = tracer.trace(eager.module, 18)
    run_passes(model, TARGETS["portable"].passes, PassContext(18, eager.config))
    save(model, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("task", "position"),
    [
        ("sentence-similarity", "absolute"),  # the last states are an output and are read by the pooling
        ("fill-mask", "absolute"),  # a weight that is tied
        ("multiple-choice", "relative_key"),  # one more axis
        ("text-generation", "relative_key_query"),  # a decoder
    ],
)
def test_file_is_that_of_a_full_trace(
    task: str, position: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = tiny_eager(task, num_hidden_layers=LAYERS, position_embedding_type=position)
    assert layers_are_alike(eager.module)
    repeated = published_bytes(eager, tmp_path / "repeated.onnx")
    monkeypatch.setattr(tracer, "layers_are_alike", lambda module: False)
    assert repeated == published_bytes(eager, tmp_path / "full.onnx")


@pytest.mark.parametrize(
    ("task", "options", "changes"),
    [
        ("feature-extraction", None, {"num_hidden_layers": 1}),
        ("feature-extraction", None, {"pruned_heads": {2: (0,)}}),
        ("feature-extraction", TaskOptions(output_hidden_states=True), {}),
        ("feature-extraction", TaskOptions(output_attentions=True), {}),
        ("text-generation-with-past", None, {}),
    ],
    ids=["one layer", "pruned heads", "hidden states", "attentions", "cache"],
)
def test_refuses_where_layers_differ_or_show(task: str, options: TaskOptions | None, changes: dict[str, Any]) -> None:
    eager = tiny_eager(task, options, **{"num_hidden_layers": LAYERS} | changes)
    assert not layers_are_alike(eager.module)


def test_a_layer_that_is_read_elsewhere_is_not_repeated() -> None:
    eager = tiny_eager("feature-extraction", num_hidden_layers=LAYERS)
    with first_layer_only(eager.module):
        graph = tracer.trace(eager.module, 18).graph
    inner = next(node for node in graph if ".layer.0." in str(node.metadata_props))
    graph.outputs.append(inner.outputs[0])
    nodes = list(graph)
    assert not repeat_layer(graph, eager.module)
    assert list(graph) == nodes


def test_the_model_has_all_its_layers_again() -> None:
    eager = tiny_eager("feature-extraction", num_hidden_layers=LAYERS)
    encoder: Any = eager.module.model.encoder
    seen = []

    def fail_inside() -> None:
        with first_layer_only(eager.module):
            seen.append(len(encoder.layer))
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert (seen, len(encoder.layer)) == ([1], LAYERS)
