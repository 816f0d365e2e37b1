"""What tests share instead of tracing again is what the tracer makes of the same module."""

from __future__ import annotations

from pathlib import Path

import pytest
import shared_traces
from export_samples import tiny_eager

import export.trace.tracer as tracer
from export.onnx_file.save import save

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", ["fill-mask", "sentence-similarity"])
def test_another_model_of_the_same_config(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (tiny_eager(task, initializer_range=0.5) for _ in range(2))
    weight = next(second.module.parameters())
    weight.data.add_(1.0)
    shared_traces.share_traces(Path(__file__))  # sets what is real
    real = tracer._traced(second.module, 18)
    assert tracer._traced is not shared_traces.traced
    shared_traces.traced(first.module, 18)
    calls: list[int] = []
    monkeypatch.setattr(shared_traces, "_real", [lambda *given: calls.append(1)])
    shared = shared_traces.traced(second.module, 18)
    assert not calls
    written = []
    for name, model in (("real", real), ("shared", shared)):
        save(model, tmp_path / f"{name}.onnx")
        written.append((tmp_path / f"{name}.onnx").read_bytes())
    assert written[0] == written[1]


def test_another_config_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_traces.traced(tiny_eager("fill-mask").module, 18)
    calls: list[str] = []
    real = shared_traces._real[0]
    monkeypatch.setattr(shared_traces, "_real", [lambda *given: (calls.append(""), real(*given))[1]])
    for changes in ({"layer_norm_eps": 1e-3}, {"hidden_act": "relu"}, {"tie_word_embeddings": False}):
        shared_traces.traced(tiny_eager("fill-mask", **changes).module, 18)
    assert len(calls) == 3
