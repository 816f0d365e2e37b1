"""Inputs that a client need not give: they get an initializer, which ONNX Runtime lets a caller override."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bert_onnx.tasks import INPUT_DEFAULTS


def give_defaults(model: ir.Model) -> None:
    """Give every input of INPUT_DEFAULTS its default. After all passes, which would take it for a constant."""
    for value in model.graph.inputs:
        if value.name in INPUT_DEFAULTS:
            value.const_value = ir.tensor(np.array([INPUT_DEFAULTS[value.name]], np.int64), name=value.name)
            model.graph.register_initializer(value)
