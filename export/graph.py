"""The graph of one variant, before it is written: passes of its target, precision, postprocess outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import onnx_ir as ir

from bert_onnx.artifact import PassRecord
from export.onnx_file.input_defaults import give_defaults
from export.onnx_file.operators import changed_operators, check_operators, count_operators
from export.passes.base import PassContext
from export.passes.table import Ledger, run_passes
from export.plan import ADDED_OPERATORS, FP32, VariantPlan
from export.postprocess import POSTPROCESS_OPERATORS, append_postprocess
from export.precision import Lowered, LowerPrecision
from export.reference.runtime import Reference
from export.report import Progress
from export.targets import SEARCHED
from export.verification.bisect import check_each_pass
from export.verification.fusion_counts import check_expectations


@dataclass(frozen=True)
class Graph:
    """A graph that is ready to be written, and how it came about."""

    lowered: Lowered
    opset: int
    fused: dict[str, int]


class GraphMaker:
    """Makes the graphs of one model.

    Args:
        reference: the eager model.
        lower: makes precisions below fp32.
        check_each_pass: run and compare the graph after every pass.
    """

    def __init__(self, reference: Reference, lower: LowerPrecision, check_each_pass: bool) -> None:
        self.reference = reference
        self._lower = lower
        self._check_each_pass = check_each_pass

    def make(self, traced: ir.Model, plan: VariantPlan, opset: int, progress: Progress, shared: bool) -> Graph:
        """The passes of the target, then the precision, then what is added to its outputs.

        Args:
            traced: the tracer's model; it is left as it is.
            progress: called with steps and the share of them that is done.
            shared: int8 by what was learned for all targets.

        Raises:
            ExportError: the graph breaks a rule of its target.
        """
        graph = self._with_postprocess(self._lowered(traced, plan, opset, progress, shared), plan)
        if plan.target.input_defaults:
            give_defaults(graph.lowered.model)
        return graph

    def _lowered(self, traced: ir.Model, plan: VariantPlan, opset: int, progress: Progress, shared: bool) -> Graph:
        eager, context = self.reference.eager, PassContext(opset, self.reference.eager.config)
        target = plan.target.for_precision(plan.precision)
        checked = self._check_each_pass
        check = check_each_pass(eager, context, target.requires, FP32) if checked else None
        model = traced.clone()
        ledger = run_passes(model, target.passes, context, check)
        check_operators(model, target)
        fused = check_expectations(model, ledger, target, eager.config, eager.task, eager.options)
        passes = _records(ledger)
        if plan.precision == FP32:
            return Graph(Lowered(model, passes), opset, fused)
        searched = partial(self._searched, traced, opset) if shared else None
        before = count_operators(model)
        lowered = self._lower.convert(model, plan, searched, progress)
        first = replace(lowered.passes[0], operators=changed_operators(before, count_operators(lowered.model)))
        lowered = replace(lowered, passes=(first, *lowered.passes[1:]))
        if plan.precision == "int8":
            fused_after = run_passes(lowered.model, target.after_int8, PassContext(lowered.model.opset_imports[""]))
            lowered = replace(lowered, passes=lowered.passes + _records(fused_after))
        check_operators(lowered.model, target, ADDED_OPERATORS[plan.precision])
        return Graph(replace(lowered, passes=passes + lowered.passes), opset, fused)

    def _searched(self, traced: ir.Model, opset: int) -> ir.Model:
        """The graph that static int8 is searched on, whichever targets are made, so that these change no bytes."""
        model = traced.clone()
        run_passes(model, SEARCHED, PassContext(opset, self.reference.eager.config))
        return model

    def _with_postprocess(self, graph: Graph, plan: VariantPlan) -> Graph:
        """`graph` with the postprocess outputs that were asked for."""
        module, lowered = self.reference.eager.module, graph.lowered
        if not module.postprocessing.steps:
            return graph
        before = count_operators(lowered.model)
        added = append_postprocess(lowered.model, module.postprocessing, module.outputs)
        changed = changed_operators(before, count_operators(lowered.model))
        check_operators(lowered.model, plan.target, ADDED_OPERATORS[plan.precision] | POSTPROCESS_OPERATORS)
        passes = (*lowered.passes, PassRecord("append_postprocess", added, changed))
        return replace(graph, lowered=replace(lowered, passes=passes))


def _records(ledger: Ledger) -> tuple[PassRecord, ...]:
    return tuple(PassRecord(name, outcome.count, dict(outcome.operators)) for name, outcome in ledger)
