"""Tiny models, traced once a process, and what a target makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

import bert_onnx
from bert_onnx.config import BertConfig
from bert_onnx.tasks import SEQUENCE, TaskOptions, find_task, input_ports, output_ports
from export.passes.base import PassContext
from export.passes.table import Ledger, run_passes
from export.reference.load import Eager
from export.reference.module import GraphModule
from export.targets import TARGETS, Target
from export.trace.tracer import trace
from export.verification.cases import Case, verification_cases
from export.verification.fusion_counts import check_expectations
from export.verification.packed_operators import expand_packed_operators

#: Sizes that are small and all different.
SIZES: dict[str, Any] = {
    "vocab_size": 41,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 36,
    "initializer_range": 0.25,
}


def tiny(task: str, options: TaskOptions | None = None, seed: int = 0, **changes: Any) -> Eager:
    """A random model whose weights and biases are large enough that a lost one shows."""
    row = find_task(task)
    config = BertConfig(**{**SIZES, "is_decoder": row.decoder, **changes})
    options = options or TaskOptions(pooler=task == "feature-extraction")
    torch.manual_seed(seed)
    model = getattr(bert_onnx, row.model_class)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    inputs, outputs = input_ports(row, config), output_ports(row, config, options)
    return Eager(GraphModule(model, row, options, inputs, outputs).eval(), config, row, options, ())


@cache
def traced(task: str, opset: int = 18) -> tuple[Eager, ir.Model]:
    """The default model of a task, and its traced graph; clone it before it is changed."""
    eager = tiny(task)
    return eager, trace(eager.module, opset)


def apply_target(
    eager: Eager, model: ir.Model, target: Target | str, opset: int | None = None
) -> tuple[ir.Model, Ledger]:
    """What a target makes of a traced graph, which stays as it is."""
    row, copy = TARGETS[target] if isinstance(target, str) else target, model.clone()
    return copy, run_passes(copy, row.passes, PassContext(opset or row.opset, eager.config))


def fused(eager: Eager, model: ir.Model, target: str) -> dict[str, int]:
    """The counts that the expectations allow; raises where they do not."""
    copy, ledger = apply_target(eager, model, target)
    return check_expectations(copy, ledger, TARGETS[target], eager.config, eager.task, eager.options)


def session(model: ir.Model) -> ort.InferenceSession:
    """Of the graph, or of its twin where it has operators for CUDA alone."""
    model = model.clone()
    expand_packed_operators(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    proto = ir.serde.serialize_model(model)
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def cases(eager: Eager, target: str = "portable") -> list[Case]:
    """The verification cases that inputs of `target` may be."""
    right_only = "right_padding" in TARGETS[target].requires
    found = verification_cases(eager.task, eager.config, eager.module.inputs)
    return [case for case in found if not (right_only and case.name.startswith(("left", "holed")))]


def expected(eager: Eager, case: Case) -> list[np.ndarray]:
    """What the eager model answers."""
    with torch.no_grad():
        outputs = eager.module(*(torch.from_numpy(case.inputs[port.name]) for port in eager.module.inputs))
    return [output.numpy() for output in outputs]


def real_tokens(eager: Eager, case: Case, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Which values of output `number` are not those of padding, broadcast to its shape."""
    axes, mask = eager.module.outputs[number].axes, case.inputs["attention_mask"]
    if SEQUENCE not in axes:
        return np.ones(shape, bool)
    place = axes.index(SEQUENCE)
    mask = mask.reshape(shape[0], -1)[:, -shape[place] :] > 0
    return np.broadcast_to(mask.reshape([shape[0], *[1] * (place - 1), -1, *[1] * (len(shape) - place - 1)]), shape)


def difference(eager: Eager, case: Case, results: Sequence[np.ndarray], zeros: bool = False) -> float:
    """Over all outputs of a case, as a share of the output's largest magnitude, or of 1.

    With `zeros`, real tokens are compared, and padding must be zeros.
    """
    worst = 0.0
    for number, (wanted, got) in enumerate(zip(expected(eager, case), results, strict=True)):
        assert wanted.shape == got.shape
        assert np.isfinite(got).all()
        if zeros:
            real = real_tokens(eager, case, number, wanted.shape)
            assert (got[~real] == 0).all()
            wanted, got = wanted * real, got * real
        worst = max(worst, float(np.abs(wanted - got).max(initial=0) / max(1.0, np.abs(wanted).max(initial=0))))
    return worst


def is_unpadded(model: ir.Model) -> bool:
    """Whether padding gives zeros: the real tokens are looked up, or packed."""
    return any(node.op_type in ("NonZero", "RemovePadding") for node in model.graph)


def largest_difference(eager: Eager, model: ir.Model, target: str = "portable") -> float:
    """Of ONNX Runtime, over all cases that inputs of `target` may be."""
    run, zeros = session(model), is_unpadded(model)
    return max(difference(eager, case, run.run(None, case.inputs), zeros) for case in cases(eager, target))
