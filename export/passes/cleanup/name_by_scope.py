"""Names nodes after the module that they come from, and drops what the tracer wrote about itself.

    node_linear_7  ->  encoder/layer.0/attention/self/query/MatMul

A traced graph carries stack traces with the paths of the machine that made it. They must not be published, and they
would make two exports of one model differ. The module path that they hold is worth keeping: it becomes the name.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome

#: Where the tracer notes the paths of the modules that a node was traced in, outermost first, as a list in text.
SCOPES = "pkg.torch.onnx.name_scopes"

#: The attribute of GraphModule that holds the model; part of every traced name, and of no interest to a user.
_WRAPPER = "model."

#: Between two modules; the dot before the index of a list of layers stays.
_STEP = re.compile(r"\.(?!\d)")


def name_by_scope(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that were named. Names are unique and depend on the graph alone."""
    used: Counter[str] = Counter()
    named = 0
    for node in model.graph:
        scope = _scope(node)
        stem = f"{scope}/{node.op_type}" if scope else node.op_type
        node.name = f"{stem}_{used[stem]}" if used[stem] else stem
        used[stem] += 1
        named += bool(scope)
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    for name, value in list(model.graph.initializers.items()):
        value.metadata_props.clear()
        if name.startswith(_WRAPPER):
            _rename_initializer(value, name.removeprefix(_WRAPPER))
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.name = "bert"
    return PassOutcome(named)


def _scope(node: ir.Node) -> str:
    """Path of the module that `node` was traced in, as `encoder/layer.0/output`; empty where there is none."""
    recorded = node.metadata_props.get(SCOPES)
    if not recorded:
        return ""
    modules = [scope for scope in ast.literal_eval(recorded)[:-1] if scope]  # the last one is the operator itself
    if not modules or not modules[-1].startswith(_WRAPPER):
        return ""
    return _STEP.sub("/", modules[-1].removeprefix(_WRAPPER))


def _rename_initializer(value: ir.Value, name: str) -> None:
    value.name = name
    if value.const_value is not None:
        value.const_value.name = name
