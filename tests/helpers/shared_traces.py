"""Tests trace a module once: those that differ in their weights alone share what torch made of it.

A trace takes longer than all else that an export of a tiny model does, and hundreds of tests export one. What is shared
is the graph of `tracer._traced`; its weights are replaced by those of the module in question. Processes that run tests
side by side find one another's graphs in a folder. The tests in `tests/export/trace` hold the ways against each other,
and have no part in it otherwise.

All share torch's table of operators. Each trace would make it anew from onnxscript's sources, in a quarter of its time.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parents[1] / "export" / "trace"
#: Most bytes of weights of a graph that other processes find: tiny models are meant.
_MOST = 1 << 20
_seen: dict[Hashable, Any] = {}
_real: list[Any] = []
_folder: list[Path] = []


def share_traces(test: Path) -> None:
    """Share traces in the tests of the file `test`, where the tracer is imported already; not in the tracer's own."""
    tracer = sys.modules.get("export.trace.tracer")
    if tracer is None:
        return
    if not _real:
        _real.append(tracer._traced)
        _read_operators_once()
    tracer._traced = _real[0] if test.is_relative_to(_OWN) else traced  # type: ignore[attr-defined]


def share_with_other_processes(folder: Path) -> None:
    """Find what other processes put into `folder`, and put there what they may need."""
    folder.mkdir(exist_ok=True)
    _folder[:] = [folder]


def traced(module: Any, opset: int) -> Any:
    """As `tracer._traced`."""
    from torch.onnx._internal.exporter._core import TorchTensor

    weights = dict(module.named_parameters(remove_duplicate=False))
    key = _key(module, weights, opset)
    if key not in _seen:
        model = _found(key)
        if model is None:
            model = _real[0](module, opset)
            if not all(name in weights for name in model.graph.initializers):
                return model  # it has constants of which nobody knows whether they depend on the weights
            _put(key, model)
        _seen[key] = model
    model = _seen[key].clone()
    for name, value in model.graph.initializers.items():
        value.const_value = TorchTensor(weights[name], name=name)
    return model


def _read_operators_once() -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    once = functools.cache(ONNXRegistry.from_torchlib)
    ONNXRegistry.from_torchlib = staticmethod(once)  # type: ignore[method-assign, assignment]


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


def _path(key: Hashable) -> Path:
    return _folder[0] / hashlib.sha256(repr(key).encode()).hexdigest()


def _found(key: Hashable) -> Any:
    """What another process traced, or None."""
    import onnx
    import onnx_ir as ir

    if not _folder or not _path(key).exists():
        return None
    return ir.from_proto(onnx.ModelProto.FromString(_path(key).read_bytes()))


def _put(key: Hashable, model: Any) -> None:
    import onnx_ir as ir

    if _folder and sum(value.const_value.nbytes for value in model.graph.initializers.values()) < _MOST:
        part = _path(key).with_suffix(f".{os.getpid()}")
        part.write_bytes(ir.to_proto(model).SerializeToString())
        part.replace(_path(key))
