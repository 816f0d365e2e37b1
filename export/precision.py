"""A float32 graph in a lower precision, and the verdict of the gate on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from bert_onnx.artifact import PassRecord, Quality, Quantization
from export.evaluation.budgets import find_budget
from export.evaluation.examples import TextSet
from export.evaluation.gate import GateReport, require_quality, run_gate
from export.plan import HALVES, VariantPlan
from export.precision_texts import PrecisionTexts
from export.quantization.float16.convert import convert_to_half
from export.quantization.float16.report import half_warnings
from export.quantization.int8.adopt import Searched, adopt_recipes
from export.quantization.int8.apply import apply_recipes
from export.quantization.int8.closeness import Closeness
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.int8.static import quantize_static, search_recipes
from export.quantization.isa import Isa
from export.quantization.result import GroupRecord, QuantizationResult
from export.quantization.weight_only.quantize import quantize_weights
from export.reference.runtime import Reference
from export.report import Progress
from export.request import PrecisionRequest
from runtimes.engines.base import Runtime
from runtimes.machine.processor import this_processor

#: Layers that a message blames.
_BLAMED = 3

#: Share of the budget's distance from 1 that the search may use up on texts like those it calibrates with, so that
#: other texts are within the budget, too.
SEARCH_MARGIN = 0.7

#: What is searched for where a budget speaks of other figures.
_COSINE_MEAN, _COSINE_MIN = 0.999, 0.995


@dataclass(frozen=True)
class Lowered:
    """A graph of lower precision.

    Args:
        model: the graph.
        passes: what to add to the ledger.
        excluded_nodes: MatMuls that were left in float.
        quantization: what the manifest says of it; None for floats.
        blame: the most sensitive layers, the worst first.
        warnings: what the user should know.
    """

    model: ir.Model
    passes: tuple[PassRecord, ...]
    excluded_nodes: tuple[str, ...] = ()
    quantization: Quantization | None = None
    blame: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class LowerPrecision:
    """Makes and judges variants of lower precision. Texts are read, the reference asked and recipes searched once.

    Args:
        request: what the user wants.
        reference: the eager model.
        folder: an artifact, staged or published, with the tokenizer.
        max_length: most tokens of a text.
    """

    def __init__(self, request: PrecisionRequest, reference: Reference, folder: Path, max_length: int) -> None:
        self.request = request
        self._searched: dict[tuple[int, int | None, bool], Searched] = {}
        self.texts = PrecisionTexts(request, reference, folder, max_length)

    def convert(
        self, model: ir.Model, plan: VariantPlan, searched: Callable[[], ir.Model] | None, progress: Progress
    ) -> Lowered:
        """`model`, a finished float32 graph that this may change, in the precision of `plan`.

        Args:
            searched: makes the graph that static int8 is searched on, once for all targets; None to search on `model`.
            progress: called with steps and the share of them that is done.

        Raises:
            UsageError, InputError: texts that cannot be used.
            ExportError, CheckpointError: weights that do not fit the precision.
        """
        doubts = self.texts.doubts_of_evaluation
        if plan.precision in HALVES:
            report = convert_to_half(model, plan.precision)
            record = PassRecord(f"convert_to_{plan.precision}", report.narrow)
            warnings = half_warnings(plan.precision, plan.target.name) + report.warnings()
            return Lowered(model, (record,), warnings=doubts + warnings)
        calibrated = plan.method != "dynamic"
        if calibrated:
            doubts = self.texts.doubts_of_calibration + doubts
        result = self._quantize(model, plan, searched, progress)
        lowered = _lowered(result, plan, self.texts.calibration if calibrated else None)
        return replace(lowered, warnings=doubts + lowered.warnings)

    def _quantize(
        self, model: ir.Model, plan: VariantPlan, searched: Callable[[], ir.Model] | None, progress: Progress
    ) -> QuantizationResult:
        if plan.method == "weights":
            nbits = plan.target.name.startswith("ort-")
            return quantize_weights(model, plan.precision, nbits, self.texts.feeds.fit, progress)
        assert plan.isa is not None
        if plan.method == "dynamic":
            return quantize_dynamic(model, plan.isa)
        adopted = None if searched is None else adopt_recipes(model, self._search(plan, plan.isa, searched, progress))
        if adopted is not None:
            return apply_recipes(model, adopted, plan.isa)
        return quantize_static(model, plan.isa, self.texts.feeds, self._goal(plan), progress)

    def _search(self, plan: VariantPlan, isa: Isa, searched: Callable[[], ir.Model], progress: Progress) -> Searched:
        """One search for all instruction sets that limit weights alike."""
        if isa.limits not in self._searched:
            graph = searched()
            recipes = search_recipes(graph, isa, self.texts.feeds, self._goal(plan), progress)
            self._searched[isa.limits] = Searched(graph, recipes)
        return self._searched[isa.limits]

    def require(self, report: GateReport, plan: VariantPlan, lowered: Lowered) -> Quality:
        """The gate's verdict.

        Raises:
            VerificationError: it is below its budget, and nobody allowed that.
        """
        what = f"the {plan.title}"
        return require_quality(report, what, lowered.blame, allow_degraded=self.request.allow_degraded)

    def measure(self, runtime: Runtime, budget: str) -> GateReport:
        """What the gate finds of `runtime`, judged by the row `budget`."""
        return run_gate(self.texts.evaluation, runtime, find_budget(budget, self.request.budget))

    def _goal(self, plan: VariantPlan) -> Closeness:
        """What the search must keep, so that other texts are within the budget, too."""
        budget = find_budget(plan.budget, self.request.budget).thresholds
        cosines = budget.get("cosine_mean", _COSINE_MEAN), budget.get("cosine_min", _COSINE_MIN)
        return Closeness(*(1 - SEARCH_MARGIN * (1 - cosine) for cosine in cosines))


def _isa_warnings(plan: VariantPlan) -> tuple[str, ...]:
    """Says so where this very machine must not run the file."""
    if plan.isa is None or not this_processor().saturates(plan.isa.name):
        return ()
    return (
        f"{plan.name}.onnx is for {plan.isa.purpose}; this processor would saturate, and `load` will refuse the file "
        "here. Add --isa avx2 for one that runs on every x86.",
    )


def _lowered(result: QuantizationResult, plan: VariantPlan, texts: TextSet | None) -> Lowered:
    def cost(record: GroupRecord) -> float:
        return record.error if record.sensitivity is None else record.sensitivity

    worst = sorted(result.records, key=cost, reverse=True)[:_BLAMED]
    quantization = Quantization(
        method=plan.method or "static",
        isa=None if plan.isa is None else plan.isa.name,
        groups=dict(sorted(Counter(record.scheme for record in result.records).items())),
        calibration=None if texts is None else texts.name,
        calibration_sha256=None if texts is None else texts.sha256,
        calibration_count=0 if texts is None else len(texts.texts),
    )
    return Lowered(
        model=result.model,
        warnings=_isa_warnings(plan),
        passes=(
            PassRecord(f"quantize_{plan.method}", len(result.records)),  # tells what became of operators in both
            PassRecord("quantize_embeddings", len(result.tables)),
        ),
        excluded_nodes=result.excluded_nodes,
        quantization=quantization,
        blame=tuple(record.nodes[0] for record in worst),
    )
