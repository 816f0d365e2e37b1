"""Tests of one process trace a module once: those that differ in their weights alone share what torch made of it.

A trace takes longer than all else that an export of a tiny model does, and hundreds of tests export one. What is shared
is the graph of `tracer._traced`; its weights are replaced by those of the module in question. The tests in
`tests/export/trace` hold the two ways against each other, and have no part in it otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parents[1] / "export" / "trace"
_seen: dict[Hashable, Any] = {}
_real: list[Any] = []


def share_traces(test: Path) -> None:
    """Share traces in the tests of the file `test`, where the tracer is imported already; not in the tracer's own."""
    tracer = sys.modules.get("export.trace.tracer")
    if tracer is None:
        return
    if not _real:
        _real.append(tracer._traced)
    tracer._traced = _real[0] if test.is_relative_to(_OWN) else traced  # type: ignore[attr-defined]


def traced(module: Any, opset: int) -> Any:
    """As `tracer._traced`."""
    weights = dict(module.named_parameters(remove_duplicate=False))
    key = _key(module, weights, opset)
    if key not in _seen:
        model = _real[0](module, opset)
        if not all(name in weights for name in model.graph.initializers):
            return model  # it has constants of which nobody knows whether they depend on the weights
        _seen[key] = model
    model = _seen[key].clone()
    for name, value in model.graph.initializers.items():
        value.const_value = type(value.const_value)(weights[name], name=name)
    return model


def _key(module: Any, weights: dict[str, Any], opset: int) -> Hashable:
    """All that a trace depends on but the numbers in the weights."""
    first: dict[int, str] = {}
    tied = [
        (name, first.setdefault(id(weight), name), tuple(weight.shape), weight.dtype)
        for name, weight in weights.items()
    ]
    buffers = [(name, buffer.numpy().tobytes()) for name, buffer in module.named_buffers()]
    config = repr(module.model.config)
    return (repr(module), config, module.task, module.options, module.inputs, module.outputs, opset, *tied, *buffers)
