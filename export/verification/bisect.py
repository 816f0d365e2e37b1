"""Which pass breaks a graph: the checker, a session and parity with the eager model after each one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from bert_onnx.errors import BertOnnxError, VerificationError
from export.onnx_file.check import check_file
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.reference.load import Eager
from export.reference.runtime import Reference
from export.verification.cases import verification_cases
from export.verification.packed_operators import expand_packed_operators
from export.verification.parity import compare, require_parity
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

#: What makes a graph that is between two passes run: the canonical form spelled out, the opset set.
_MAKE_RUNNABLE = ("lower_plain", "simplify", "set_opset", "finish")

#: What stands for the pass where there was none yet.
_TRACE = "trace"

#: Small cases first; one of each kind of padding is among them.
_CASES = 6


def find_broken_pass(
    traced: ir.Model, eager: Eager, passes: Sequence[str], context: PassContext, requires: Sequence[str], precision: str
) -> str | None:
    """Name of the first of `passes` after which `traced` no longer computes what `eager` does; None if there is none.

    A pass is blamed only where the graph before it passed: None, too, where the tracer's graph fails already.

    Args:
        traced: the tracer's model; it is changed.
        requires: what inputs must keep to.
    """
    check = check_each_pass(eager, context, requires, precision)
    try:
        check(_TRACE, traced)
    except _PassBrokeError:
        return None
    try:
        run_passes(traced, passes, context, check)
    except _PassBrokeError as broke:
        return broke.name
    return None


def check_each_pass(
    eager: Eager, context: PassContext, requires: Sequence[str], precision: str
) -> Callable[[str, ir.Model], None]:
    """What `run_passes` calls after each pass; raises VerificationError, naming the pass and what went wrong."""

    def check(name: str, model: ir.Model) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            try:
                runnable = model.clone()
                run_passes(runnable, _MAKE_RUNNABLE, context)
                expand_packed_operators(runnable)
                save(runnable, path)
                check_file(path)
                module = eager.module.without_postprocess()  # no pass has to do with them
                with OnnxRuntimeCpu.open(path, module.inputs, module.outputs, limits=eager.config) as runtime:
                    cases = verification_cases(eager.task, eager.config, module.inputs, requires)
                    zeros = any(node.op_type == "NonZero" for node in runnable.graph)
                    parity = compare(
                        runtime,
                        Reference(replace(eager, module=module)),
                        islice(cases, _CASES),
                        precision,
                        zero_padding=zeros,
                    )
                require_parity(parity, "the graph after it")
            except BertOnnxError as error:
                raise _PassBrokeError(name, error) from error

    return check


class _PassBrokeError(VerificationError):
    """Parity was lost in a pass."""

    def __init__(self, name: str, error: BertOnnxError) -> None:
        super().__init__(f"the pass {name} breaks the graph: {error}")
        self.name = name
