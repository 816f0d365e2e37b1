"""One variant: passes, precision, file, checks, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from bert_onnx.artifact import Parity, PassRecord, Variant
from export.onnx_file.check import check_file
from export.onnx_file.input_defaults import give_defaults
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.operators import check_operators, count_operators
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.plan import ADDED_OPERATORS, FP32, LOWEST_OPSET, VariantPlan
from export.postprocess import POSTPROCESS_OPERATORS, append_postprocess
from export.precision import Lowered, LowerPrecision, open_variant
from export.reference.runtime import Reference
from export.report import Progress
from export.request import PrecisionRequest
from export.targets import Target
from export.trace.tracer import trace
from export.verification.bisect import check_each_pass, find_broken_pass
from export.verification.cases import verification_cases
from export.verification.fusion_counts import check_expectations
from export.verification.parity import compare, require_parity
from runtimes.engines.base import Runtime


@dataclass(frozen=True)
class WriteOptions:
    """How graphs are written, whichever they are.

    Args:
        opset: what the user asked for; None for each target's own.
        external_data_threshold: bytes of weights beyond which they go into a file of their own.
        check_each_pass: run and compare the graph after every pass, not at the end alone.
    """

    opset: int | None = None
    external_data_threshold: int = EXTERNAL_DATA_THRESHOLD
    check_each_pass: bool = False


@dataclass(frozen=True)
class Built:
    """A variant that passed, and what the user should know of it."""

    variant: Variant
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Graph:
    """A graph that is ready to be written, and how it came about."""

    lowered: Lowered
    opset: int
    fused: dict[str, int]


def skips_padding(fused: Mapping[str, int]) -> bool:
    """Whether a graph with these counts gives zeros at padding. Decoders with a cache keep theirs."""
    return fused.get("unpadded_attention", 0) > 0


def variant_opset(plan: VariantPlan, asked: int | None) -> int:
    """The opset of a variant: what was asked for, else the target's, as far as its precision has it."""
    return max(asked or plan.target.opset, LOWEST_OPSET.get(plan.precision, 0))


def external_threshold(target: Target, threshold: int) -> int:
    """Bytes of weights beyond which they go into a file of their own."""
    return 0 if target.external_data else threshold


class VariantBuilder:
    """Makes variants of one model, each proven before it is handed out.

    Args:
        reference: the eager model.
        stage: a staged artifact with its tokenizer and a folder `onnx`.
        longest: length to which texts are cut, in tokens.
        precision: how precisions below fp32 are made and judged.
        options: see there.
    """

    def __init__(
        self,
        reference: Reference,
        stage: Path,
        longest: int,
        precision: PrecisionRequest,
        options: WriteOptions = WriteOptions(),
    ) -> None:
        self.reference = reference
        self.stage = stage
        self._lower = LowerPrecision(precision, reference, stage, longest)
        self._options = options

    def build_all(self, plans: Sequence[VariantPlan], progress: Progress) -> tuple[Built, ...]:
        """One variant for each of `plans`; what needs the same trace shares it.

        Args:
            progress: called with steps and the share of all that is done.

        Raises:
            As `build`.
        """
        traced: dict[int, ir.Model] = {}
        built = []
        for number, plan in enumerate(plans):
            chosen = variant_opset(plan, self._options.opset)
            progress(f"tracing the {plan.title}", number / len(plans))
            if chosen not in traced:
                traced[chosen] = trace(self.reference.eager.module.without_postprocess(), chosen)

            def step(what: str, done: float, number: int = number) -> None:
                progress(what, (number + done) / len(plans))

            built.append(self.build(traced[chosen], plan, chosen, step))
        return tuple(built)

    def build(self, traced: ir.Model, plan: VariantPlan, opset: int, progress: Progress) -> Built:
        """Turn `traced` into <name>.onnx and prove it equal to the eager model, or good enough for its precision.

        Args:
            traced: the tracer's model; it is left as it is.
            progress: called with steps and the share of this variant that is done.

        Raises:
            ExportError: the graph breaks a rule of its target, or does not open.
            VerificationError: its outputs are not those of the eager model.
        """
        graph = self._with_postprocess(self._make(traced, plan, opset, progress), plan)
        if plan.target.input_defaults:
            give_defaults(graph.lowered.model)
        path = self.stage / "onnx" / f"{plan.name}.onnx"
        data = save(graph.lowered.model, path, external_threshold(plan.target, self._options.external_data_threshold))
        check_file(path)
        quality = None
        with open_variant(path, self.reference.eager, plan.target.name, plan.precision) as runtime:
            parity = self._compare(runtime, plan, graph, progress)
            self._require(parity, traced, plan, opset)
            if plan.precision != FP32:
                progress(f"measuring the {plan.title} on held-out text", 0.9)
                quality = self._lower.judge(runtime, plan, graph.lowered)
        operators = count_operators(graph.lowered.model)
        variant = Variant(
            name=plan.name,
            file=f"onnx/{path.name}",
            data_file=None if data is None else f"onnx/{data.name}",
            target=plan.target.name,
            precision=plan.precision,
            opset=graph.opset,
            ir_version=graph.lowered.model.ir_version,
            nodes=sum(operators.values()),
            size_bytes=0,  # `seal` measures it
            operators=dict(sorted(operators.items())),
            fused=graph.fused,
            passes=graph.lowered.passes,
            excluded_nodes=graph.lowered.excluded_nodes,
            parity=parity,
            quality=quality,
            quantization=graph.lowered.quantization,
        )
        return Built(variant, graph.lowered.warnings)

    def _make(self, traced: ir.Model, plan: VariantPlan, opset: int, progress: Progress) -> _Graph:
        """The passes of the target, then the precision."""
        eager, context = self.reference.eager, PassContext(opset, self.reference.eager.config)
        target = plan.target.for_precision(plan.precision)
        checked = self._options.check_each_pass
        check = check_each_pass(eager, context, target.requires, FP32) if checked else None
        model = traced.clone()
        ledger = run_passes(model, target.passes, context, check)
        check_operators(model, target)
        fused = check_expectations(model, ledger, target, eager.config, eager.task, eager.options)
        passes = tuple(PassRecord(name, outcome.count) for name, outcome in ledger)
        if plan.precision == FP32:
            return _Graph(Lowered(model, passes), opset, fused)
        lowered = self._lower.convert(model, plan, lambda step, share: progress(step, 0.1 + 0.6 * share))
        if plan.precision == "int8":
            fused_after = run_passes(lowered.model, target.after_int8, PassContext(lowered.model.opset_imports[""]))
            records = tuple(PassRecord(name, outcome.count) for name, outcome in fused_after)
            lowered = replace(lowered, passes=lowered.passes + records)
        check_operators(lowered.model, target, ADDED_OPERATORS[plan.precision])
        return _Graph(replace(lowered, passes=passes + lowered.passes), opset, fused)

    def _with_postprocess(self, graph: _Graph, plan: VariantPlan) -> _Graph:
        """`graph` with the postprocess outputs that were asked for."""
        module, lowered = self.reference.eager.module, graph.lowered
        if not module.postprocessing.steps:
            return graph
        added = append_postprocess(lowered.model, module.postprocessing, module.outputs)
        check_operators(lowered.model, plan.target, ADDED_OPERATORS[plan.precision] | POSTPROCESS_OPERATORS)
        passes = (*lowered.passes, PassRecord("append_postprocess", added))
        return replace(graph, lowered=replace(lowered, passes=passes))

    def _compare(self, runtime: Runtime, plan: VariantPlan, graph: _Graph, progress: Progress) -> Parity:
        eager = self.reference.eager
        cases = verification_cases(eager.task, eager.config, eager.module.inputs, plan.target.requires)
        zeros = skips_padding(graph.fused)
        return compare(
            runtime,
            self.reference,
            cases,
            plan.precision,
            lambda case: progress(f"verifying the {plan.title}: {case}", 0.7),
            zeros,
            eager.module.postprocessing,
        )

    def _require(self, parity: Parity, traced: ir.Model, plan: VariantPlan, opset: int) -> None:
        """Raises VerificationError unless the verdict is a pass; the pass that broke the graph is named."""
        if parity.passed:
            return
        context, target = PassContext(opset, self.reference.eager.config), plan.target.for_precision(plan.precision)
        broken = find_broken_pass(traced, self.reference.eager, target.passes, context, target.requires, FP32)
        blamed = f" (it breaks in the pass {broken})" if broken else ""
        require_parity(parity, f"the {plan.title}{blamed}")
