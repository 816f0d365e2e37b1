"""One variant: passes, file, checks, verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from bert_onnx.artifact import PassRecord, Variant
from export.cases import verification_cases
from export.check_file import check_file
from export.check_operators import check_operators, count_operators
from export.expectations import check_expectations
from export.find_broken_pass import check_each_pass, find_broken_pass
from export.load_model import Eager
from export.passes import PassContext, run_passes
from export.reference import input_limits
from export.serialize import save
from export.targets import Target
from export.verify import compare, require_parity
from runtimes.base import Runtime, RuntimeOptions
from runtimes.onnxruntime import OnnxRuntimeCpu

PRECISION = "fp32"


@dataclass(frozen=True)
class BuildPlan:
    """What to make of a traced graph.

    Args:
        name: stem of the file, `model` or `model_<variant>`.
        target: its row.
        opset: the opset to write.
        external_data_threshold: bytes of weights beyond which they go into a file of their own.
        check_each_pass: run and compare the graph after every pass, not at the end alone.
    """

    name: str
    target: Target
    opset: int
    external_data_threshold: int
    check_each_pass: bool = False


def skips_padding(fused: Mapping[str, int]) -> bool:
    """Whether a graph with these counts gives zeros at padding. Decoders with a cache keep theirs."""
    return fused.get("unpadded_attention", 0) > 0


def build_variant(
    traced: ir.Model, eager: Eager, reference: Runtime, plan: BuildPlan, folder: Path, on_case: Callable[[str], None]
) -> Variant:
    """Turn `traced` into `folder`/<name>.onnx and prove it equal to `eager`.

    Args:
        traced: the tracer's model; it is left as it is.
        eager, reference: the eager model, and what answers for it.
        folder: the `onnx` folder of a staged artifact.
        on_case: called with each verification case's name.

    Raises:
        ExportError: the graph breaks a rule of its target, or does not open.
        VerificationError: it does not answer as the eager model does.
    """
    model, context = traced.clone(), PassContext(plan.opset, eager.config)
    check = check_each_pass(eager, context, plan.target.requires, PRECISION) if plan.check_each_pass else None
    ledger = run_passes(model, plan.target.passes, context, check)
    check_operators(model, plan.target)
    fused = check_expectations(model, ledger, plan.target, eager.config, eager.task, eager.options)
    operators = count_operators(model)
    path = folder / f"{plan.name}.onnx"
    data = save(model, path, plan.external_data_threshold)
    check_file(path)
    limits = input_limits(eager)
    waiting = RuntimeOptions(spinning=False)  # the reference may be computing on the same cores
    with OnnxRuntimeCpu.open(path, eager.module.inputs, eager.module.outputs, waiting, limits) as runtime:
        cases = verification_cases(eager.task, eager.config, eager.module.inputs, plan.target.requires)
        parity = compare(runtime, reference, cases, PRECISION, on_case, skips_padding(fused))
    if not parity.passed:
        broken = find_broken_pass(traced, eager, plan.target.passes, context, plan.target.requires, PRECISION)
        blamed = f" (it breaks in the pass {broken})" if broken else ""
        require_parity(parity, f"the {plan.target.name} graph{blamed}")
    return Variant(
        name=plan.name,
        file=f"{folder.name}/{path.name}",
        data_file=None if data is None else f"{folder.name}/{data.name}",
        target=plan.target.name,
        precision=PRECISION,
        opset=plan.opset,
        ir_version=model.ir_version,
        nodes=sum(operators.values()),
        size_bytes=0,  # `seal` measures it
        operators=dict(sorted(operators.items())),
        fused=fused,
        passes=tuple(PassRecord(name, outcome.count) for name, outcome in ledger),
        excluded_nodes=(),
        parity=parity,
    )
