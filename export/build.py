"""One variant: passes, file, checks, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from bert_onnx.artifact import PassRecord, Variant
from bert_onnx.errors import ExportError
from export.cases import verification_cases
from export.load_model import Eager
from export.passes import PassContext, run_passes
from export.serialize import save
from export.targets import Target
from export.verify import compare, require_parity
from runtimes.base import Runtime
from runtimes.eager import EagerRuntime
from runtimes.inputs import InputLimits
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
    """

    name: str
    target: Target
    opset: int
    external_data_threshold: int


def build_variant(
    traced: ir.Model, eager: Eager, plan: BuildPlan, folder: Path, on_case: Callable[[str], None]
) -> Variant:
    """Turn `traced` into `folder`/<name>.onnx and prove it equal to `eager`.

    Args:
        traced: the tracer's model; it is changed.
        folder: the `onnx` folder of a staged artifact.
        on_case: called with each verification case's name.

    Raises:
        ExportError: the graph breaks a rule of its target, or does not open.
        VerificationError: it does not answer as the eager model does.
    """
    ledger = run_passes(traced, plan.target.passes, PassContext(plan.opset, eager.config))
    operators = Counter(operator_name(node) for node in traced.graph.all_nodes())
    _check_operators(traced, plan.target)
    path = folder / f"{plan.name}.onnx"
    data = save(traced, path, plan.external_data_threshold)
    check_file(path)
    limits = input_limits(eager)
    with OnnxRuntimeCpu.open(path, eager.module.inputs, eager.module.outputs, limits=limits) as runtime:
        cases = verification_cases(eager.task, eager.config, eager.module.inputs, plan.target.requires)
        parity = compare(runtime, eager_runtime(eager), cases, PRECISION, on_case)
    require_parity(parity, f"the {plan.target.name} graph")
    return Variant(
        name=plan.name,
        file=f"{folder.name}/{path.name}",
        data_file=None if data is None else f"{folder.name}/{data.name}",
        target=plan.target.name,
        precision=PRECISION,
        opset=plan.opset,
        ir_version=traced.ir_version,
        nodes=sum(operators.values()),
        size_bytes=0,  # `seal` measures it
        operators=dict(sorted(operators.items())),
        fused={},
        passes=tuple(PassRecord(name, outcome.count) for name, outcome in ledger),
        excluded_nodes=(),
        parity=parity,
    )


def check_file(path: Path) -> None:
    """The onnx checker with shape inference, on the file as it was written.

    Raises:
        ExportError: what the checker says.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the onnx checker refuses {path.name}: {str(error).strip().splitlines()[0]}.") from error


def eager_runtime(eager: Eager) -> Runtime:
    """The reference behind the Runtime protocol."""
    return EagerRuntime(eager.module, eager.module.inputs, eager.module.outputs, input_limits(eager))


def input_limits(eager: Eager) -> InputLimits:
    """What the model's tables can look up."""
    config = eager.config
    return InputLimits(config.vocab_size, config.max_position_embeddings, config.type_vocab_size)


def operator_name(node: ir.Node) -> str:
    """`Add` for ai.onnx, `com.microsoft.BiasGelu` for others."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _check_operators(model: ir.Model, target: Target) -> None:
    """Raises ExportError naming an operator that the clients of `target` do not have."""
    for node in model.graph.all_nodes():
        if node.domain not in target.domains or (node.domain == "" and node.op_type not in target.operators):
            raise ExportError(
                f"{operator_name(node)} ({node.name}) is not an operator of the target {target.name}; "
                "choose another target."
            )
