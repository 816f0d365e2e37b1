"""Brings a graph from elsewhere to the opset that is wanted.

Up, before anything is recognised: by the version converters of onnxscript and onnx. Down, after everything that the
lower opset does not have was recognised and is private to us: what is left must mean the same in both.
"""

from __future__ import annotations

import logging

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.version_converter import ConvertVersionPass

from bert_onnx.errors import ExportError
from export.passes.base import PassContext, PassOutcome
from export.targets import MIN_OPSET

#: The opset that every pass works on at the least; `set_opset` goes below it.
LOWEST_WORKING_OPSET = 18

#: Operators of which later versions only take more element types, or have an attribute more for types that a BERT
#: does not use (https://github.com/onnx/onnx/blob/main/docs/Changelog.md, versions 13 to 24).
_SAME_MEANING = frozenset(
    {
        "Cast", "Constant", "ConstantOfShape", "Dropout", "Equal", "Flatten", "Identity", "IsNaN", "ReduceMax",
        "ReduceMin", "Reshape", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip

#: Attributes that came with such a version, with the value under which they change nothing here.
_IDLE_ATTRIBUTES: dict[tuple[str, str], tuple[object, ...]] = {
    ("Cast", "saturate"): (0, 1),  # float8 only
    ("Cast", "round_mode"): ("up", "down", "nearest"),  # float8 only
}


def upgrade_opset(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts 1 for a graph whose opset was raised.

    Functions of the graph are inlined first: an exporter may hide operators in them.

    Raises:
        ExportError: the converters do not have a rule for some operator.
    """
    common.InlinePass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    wanted = max(LOWEST_WORKING_OPSET, context.opset)
    found = model.graph.opset_imports.get("", 0)
    if found >= wanted:
        return PassOutcome(0)
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:  # the pass warns that it calls onnx, and hides the error that it gets
            logger.setLevel(logging.CRITICAL)
        if found < LOWEST_WORKING_OPSET:  # onnx's own converter; onnxscript's begins at 18
            ConvertVersionPass(LOWEST_WORKING_OPSET, fallback=True)(model)
        if LOWEST_WORKING_OPSET <= model.graph.opset_imports.get("", 0) < wanted:
            ConvertVersionPass(wanted, fallback=True)(model)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    if model.graph.opset_imports.get("", 0) != wanted:
        raise ExportError(
            f"the graph has opset {found}, and onnx cannot convert it to {wanted}; export it again with opset "
            f"{MIN_OPSET} or later."
        )
    return PassOutcome(1)


def downgrade_opset(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes whose operator has another version in the lower opset.

    Raises:
        ExportError: an operator is not in the lower opset, or means something else there.
    """
    wanted = max(LOWEST_WORKING_OPSET, context.opset)
    found = model.graph.opset_imports.get("", 0)
    if found <= wanted:
        return PassOutcome(0)
    changed = 0
    for node in model.graph.all_nodes():
        if node.domain == "":
            changed += _lower(node, found, wanted)
    model.graph.opset_imports[""] = wanted
    return PassOutcome(changed)


def _lower(node: ir.Node, found: int, wanted: int) -> bool:
    """Make sure that `node` means the same at opset `wanted`; whether its operator has another version there."""
    newest = min(found, onnx.defs.onnx_opset_version())
    versions = [
        onnx.defs.get_schema(node.op_type, opset, "") if onnx.defs.has(node.op_type, opset, "") else None
        for opset in (newest, wanted)
    ]
    new, old = versions
    if old is None or (
        new is not None and new.since_version != old.since_version and node.op_type not in _SAME_MEANING
    ):
        raise ExportError(
            f"{node.op_type} ({node.name}) of opset {found} has no equal in opset {wanted}; choose --opset {found}, "
            "or another target."
        )
    for name, attribute in list(node.attributes.items()):
        if name not in old.attributes:
            if attribute.value not in _IDLE_ATTRIBUTES.get((node.op_type, name), ()):
                raise ExportError(f"{node.op_type} ({node.name}) has {name}, which opset {wanted} does not know.")
            del node.attributes[name]
    return new is None or new.since_version != old.since_version
