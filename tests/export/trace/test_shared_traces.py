"""What tests share instead of tracing again is what the tracer makes of the same module."""

from __future__ import annotations

from pathlib import Path

import pytest
import shared_traces
from export_samples import tiny_eager

import export.trace.tracer as tracer
from export.onnx_file.save import save

pytestmark = pytest.mark.slow


def test_another_model_of_the_same_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own weights, one of them tied, are in the same graph."""
    first, second = (tiny_eager("fill-mask", initializer_range=0.5) for _ in range(2))
    next(second.module.parameters()).data.add_(1.0)
    assert tracer._traced is not shared_traces.traced
    real = tracer._traced(second.module, 18)
    monkeypatch.setattr(shared_traces, "_folder", [tmp_path])
    monkeypatch.setattr(shared_traces, "_seen", {})
    monkeypatch.setattr(shared_traces, "_real", [tracer._traced])
    shared_traces.traced(first.module, 18)
    monkeypatch.setattr(shared_traces, "_real", [_refuse])
    shared = shared_traces.traced(second.module, 18)
    monkeypatch.setattr(shared_traces, "_seen", {})  # as in another process
    found = shared_traces.traced(second.module, 18)
    written = []
    for name, model in (("real", real), ("shared", shared), ("found", found)):
        save(model, tmp_path / f"{name}.onnx")
        written.append((tmp_path / f"{name}.onnx").read_bytes())
    assert written[0] == written[1] == written[2]
    for changes in ({"layer_norm_eps": 1e-3}, {"hidden_act": "relu"}, {"tie_word_embeddings": False}):
        with pytest.raises(_TracedError):
            shared_traces.traced(tiny_eager("fill-mask", **{"initializer_range": 0.5} | changes).module, 18)


class _TracedError(Exception):
    """Somebody called the tracer."""


def _refuse(*given: object) -> None:
    raise _TracedError
