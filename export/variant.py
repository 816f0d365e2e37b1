"""One variant: passes, precision, file, checks, verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
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
from runtimes.background import Background
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
class _File:
    """A graph that was written, and where; `data`: its weights where they are apart."""

    graph: Graph
    path: Path
    data: Path | None


@dataclass(frozen=True)
class _Proof:
    """What was found of a file; below fp32 also by the gate, unless parity fails already."""

    parity: Parity
    report: GateReport | None

    @property
    def passed(self) -> bool:
        """Whether it may be published as it is."""
        return self.parity.passed and (self.report is None or self.report.passed)


def _begin_to_sync(path: Path) -> None:
    """Nothing is lost where this fails: publishing syncs again, and says what is wrong."""
    with suppress(OSError, AttributeError), open(path, "rb") as file:  # Windows has no fdatasync
        os.fdatasync(file.fileno())


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
        self._traces: dict[int, ir.Model] = {}

    def build_all(self, plans: Sequence[VariantPlan], progress: Progress) -> tuple[Built, ...]:
        """Make <name>.onnx for each of `plans`, and prove it equal to the eager model, or good enough below float32.

        What needs the same trace shares it. Every float32 file is written before the first is compared: until then a
        second process may be at work on the eager outputs, and writing keeps one core busy.

        Args:
            progress: called with steps and the share of all that is done.

        Raises:
            ExportError: a graph breaks a rule of its target, or does not open.
            VerificationError: its outputs are not those of the eager model.
        """
        todo = [(plan, share.of(progress)) for plan, share in zip(plans, shares_of(plans), strict=True)]
        files = {plan.name: self._write(plan, steps) for plan, steps in todo if plan.precision == FP32}
        return tuple(self._build(plan, steps, files.get(plan.name)) for plan, steps in todo)

    def _build(self, plan: VariantPlan, steps: Steps, file: _File | None) -> Built:
        """Prove `file`, or what is written now.

        Static int8 is made by what one search learned for all targets; a variant that does not pass with that has a
        search of its own.
        """
        shared = plan.method == "static"
        file = file or self._write(plan, steps, shared)
        found = self._prove(file, plan, steps)
        if shared and not found.passed:
            steps.converting(f"searching again, for the {plan.title} alone", 0.0)
            file = self._write(plan, steps, shared=False)
            found = self._prove(file, plan, steps)
        self._require(found.parity, plan)
        lowered = file.graph.lowered
        quality = None if found.report is None else self._lower.require(found.report, plan, lowered)
        operators = count_operators(lowered.model)
        variant = Variant(
            name=plan.name,
            file=f"onnx/{file.path.name}",
            data_file=None if file.data is None else f"onnx/{file.data.name}",
            target=plan.target.name,
            precision=plan.precision,
            opset=file.graph.opset,
            ir_version=lowered.model.ir_version,
            nodes=sum(operators.values()),
            size_bytes=0,  # `seal` measures it
            operators=dict(sorted(operators.items())),
            fused=file.graph.fused,
            passes=lowered.passes,
            excluded_nodes=lowered.excluded_nodes,
            parity=found.parity,
            quality=quality,
            quantization=lowered.quantization,
        )
        return Built(variant, lowered.warnings)

    def _write(self, plan: VariantPlan, steps: Steps, shared: bool = True) -> _File:
        """Make the graph and write it; `shared`: int8 by what was learned for all targets."""
        opset = variant_opset(plan, self._options.opset)
        graph = self._maker.make(self._traced(opset, steps.converting), plan, opset, steps.converting, shared)
        path = self.stage / "onnx" / f"{plan.name}.onnx"
        data = save(graph.lowered.model, path, external_threshold(plan.target, self._options.external_data_threshold))
        Background(partial(_begin_to_sync, data or path))  # publishing waits for the disk; this goes on meanwhile
        return _File(graph, path, data)

    def _traced(self, opset: int, progress: Progress) -> ir.Model:
        """The tracer's model, which is left as it is."""
        if opset not in self._traces:
            progress("tracing the model", 0.0)
            self._traces[opset] = trace(self.reference.eager.module.without_postprocess(), opset)
        return self._traces[opset]

    def _prove(self, file: _File, plan: VariantPlan, steps: Steps) -> _Proof:
        """Check the file, compare it, and below fp32 measure it."""
        check_file(file.path)
        report = None
        with ExitStack() as stack:
            try:
                opening = open_variant(file.path, self.reference.eager, plan.target.name, plan.precision)
                runtime = stack.enter_context(opening)
            except ArtifactError as error:
                raise ExportError(
                    f"the {plan.title} does not open, and is not published: {error} This is a defect of bert-onnx: "
                    "please report it, and leave this precision or target out."
                ) from error
            parity = self._compare(runtime, plan, file.graph, steps.judging)
            if plan.precision != FP32 and parity.passed:
                steps.judging(f"measuring the {plan.title} on held-out text", 0.4)
                report = self._lower.measure(runtime, plan.budget)
        return _Proof(parity, report)

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

    def _require(self, parity: Parity, plan: VariantPlan) -> None:
        """Raises VerificationError unless the verdict is a pass; the pass that broke the graph is named."""
        if parity.passed:
            return
        opset = variant_opset(plan, self._options.opset)
        context, target = PassContext(opset, self.reference.eager.config), plan.target.for_precision(plan.precision)
        traced = self._traces[opset]
        broken = find_broken_pass(traced, self.reference.eager, target.passes, context, target.requires, FP32)
        blamed = f" (it breaks in the pass {broken})" if broken else ""
        require_parity(parity, f"the {plan.title}{blamed}")
