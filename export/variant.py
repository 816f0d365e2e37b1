"""One variant: passes, precision, file, checks, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from bert_onnx.artifact import Parity, Variant
from bert_onnx.errors import ArtifactError, ExportError
from export.evaluation.gate import GateReport
from export.graph import Graph, GraphMaker
from export.onnx_file.check import check_file
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.operators import count_operators
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.plan import FP32, LOWEST_OPSET, VariantPlan
from export.precision import LowerPrecision
from export.reference.runtime import Reference
from export.report import Progress
from export.request import PrecisionRequest
from export.shares import Steps, shares_of
from export.targets import Target
from export.trace.tracer import trace
from export.verification.bisect import find_broken_pass
from export.verification.cases import verification_cases
from export.verification.opening import open_variant
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
class _Attempt:
    """A file that was written, and what was found of it; below fp32 also by the gate, unless parity fails already."""

    graph: Graph
    path: Path
    data: Path | None
    parity: Parity
    report: GateReport | None

    @property
    def passed(self) -> bool:
        """Whether it may be published as it is."""
        return self.parity.passed and (self.report is None or self.report.passed)


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
        self._maker = GraphMaker(reference, self._lower, options.check_each_pass)
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
        for plan, share in zip(plans, shares_of(plans), strict=True):
            chosen = variant_opset(plan, self._options.opset)
            if chosen not in traced:
                progress("tracing the model", share.begin)
                traced[chosen] = trace(self.reference.eager.module.without_postprocess(), chosen)
            built.append(self.build(traced[chosen], plan, chosen, share.of(progress)))
        return tuple(built)

    def build(self, traced: ir.Model, plan: VariantPlan, opset: int, steps: Steps) -> Built:
        """Turn `traced` into <name>.onnx and prove it equal to the eager model, or good enough for its precision.

        Static int8 is made by what one search learned for all targets; a variant that does not pass with that has a
        search of its own.

        Args:
            traced: the tracer's model; it is left as it is.
            steps: called as steps begin.

        Raises:
            ExportError: the graph breaks a rule of its target, or does not open.
            VerificationError: its outputs are not those of the eager model.
        """
        shared = plan.method == "static"
        found = self._attempt(traced, plan, opset, steps, shared)
        if shared and not found.passed:
            steps.converting(f"searching again, for the {plan.title} alone", 0.0)
            found = self._attempt(traced, plan, opset, steps, shared=False)
        self._require(found.parity, traced, plan, opset)
        graph, path, data = found.graph, found.path, found.data
        quality = None if found.report is None else self._lower.require(found.report, plan, graph.lowered)
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
            parity=found.parity,
            quality=quality,
            quantization=graph.lowered.quantization,
        )
        return Built(variant, graph.lowered.warnings)

    def _attempt(self, traced: ir.Model, plan: VariantPlan, opset: int, steps: Steps, shared: bool) -> _Attempt:
        """Write the file, compare and measure it; `shared`: int8 by what was learned for all targets."""
        graph = self._maker.make(traced, plan, opset, steps.converting, shared)
        path = self.stage / "onnx" / f"{plan.name}.onnx"
        data = save(graph.lowered.model, path, external_threshold(plan.target, self._options.external_data_threshold))
        check_file(path)
        report = None
        with ExitStack() as stack:
            try:
                opening = open_variant(path, self.reference.eager, plan.target.name, plan.precision)
                runtime = stack.enter_context(opening)
            except ArtifactError as error:
                raise ExportError(
                    f"the {plan.title} does not open, and is not published: {error} This is a defect of bert-onnx: "
                    "please report it, and leave this precision or target out."
                ) from error
            parity = self._compare(runtime, plan, graph, steps.judging)
            if plan.precision != FP32 and parity.passed:
                steps.judging(f"measuring the {plan.title} on held-out text", 0.4)
                report = self._lower.measure(runtime, plan.budget)
        return _Attempt(graph, path, data, parity, report)

    def _compare(self, runtime: Runtime, plan: VariantPlan, graph: Graph, progress: Progress) -> Parity:
        eager = self.reference.eager
        cases = verification_cases(eager.task, eager.config, eager.module.inputs, plan.target.requires)
        zeros = skips_padding(graph.fused)
        return compare(
            runtime,
            self.reference,
            cases,
            plan.precision,
            lambda case: progress(f"verifying the {plan.title}: {case}", 0.1),
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
