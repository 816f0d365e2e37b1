"""What a graph without a mask gains for batches without padding, on ONNX Runtime's CPU provider: docs/adr/0005.

    python -m benchmarks.mask_free [--model sample] [--seconds 20] [--shapes 1x128,8x128]

The graphs are those of the targets, and the same with the mask taken out of their attention; one has both kinds, and an
If in every layer takes the one without a mask where every mask value is 1. All run in turns, on one thread. A ratio is
the processor time of the first graph over that of the other: of the shortest calls, of the shortest tenth, and the
median of all rounds. Above 1 is faster. The shortest calls are those that nothing else on the machine disturbed.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper

from benchmarks.passes_cpu import OPENINGS, Shape, make_inputs, open_session, parse_shape
from bert_onnx.checkpoint import find_checkpoint
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import optional_input
from export.passes.table import run_passes
from export.reference.load import load_eager
from export.reference.task_choice import choose_task
from export.request import ExportRequest
from export.targets import CLOSE, FUSE, PREPARE, RAISE
from export.trace.tracer import trace

OPSET = 18
SHAPES = "1x16,1x128,8x128,32x128,1x512"

_RAISED = (*PREPARE, *RAISE, "fold_token_type")
#: name -> (without a mask, the passes after those that raise).
ALTERNATIVES: dict[str, tuple[bool, tuple[str, ...]]] = {
    "ort-cpu: Attention, masked": (False, ("lower_attention_microsoft", "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "Attention, no mask": (True, ("lower_attention_microsoft", "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "MultiHeadAttention, masked": (False, ("merge_qkv", "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "MultiHeadAttention, no mask": (True, ("merge_qkv", "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "plain, masked": (False, ("fold_scale", *FUSE, "lower_plain", *CLOSE)),
    "plain, no mask": (True, ("fold_scale", *FUSE, "lower_plain", *CLOSE)),
}


#: The graph with both kinds of attention; made of the first one.
CHOOSING = "Attention, an If a layer"


def drop_masks(model: ir.Model) -> int:
    """Take the key mask out of every canonical Attention; says how many had one."""
    count = 0
    for node in model.graph:
        if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN) and optional_input(node, canonical.BIAS):
            node.replace_input_with(canonical.BIAS, None)
            count += 1
    return count


def with_choices(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with an If around every Attention; its condition is computed once."""
    nodes = [
        helper.make_node("ReduceMin", ["attention_mask"], ["least"], keepdims=0),
        helper.make_node("Cast", ["least"], ["no_padding"], to=onnx.TensorProto.BOOL),
    ]
    for node in model.graph.node:
        if node.op_type != "Attention":
            nodes.append(node)
            continue
        branches = []
        for inputs in (list(node.input[:3]), list(node.input)):
            inner = onnx.NodeProto()
            inner.CopyFrom(node)
            name = f"{node.output[0]}_{len(inputs)}"
            inner.input[:], inner.output[:] = inputs, [name]
            value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            branches.append(helper.make_graph([inner], name, [], [value]))
        then_branch, else_branch = branches
        nodes.append(
            helper.make_node("If", ["no_padding"], node.output, then_branch=then_branch, else_branch=else_branch)
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def build(model: str, task: str, folder: Path) -> tuple[dict[str, Path], int]:
    """Files of the alternatives, and the size of the vocabulary."""
    request = ExportRequest(model, task=task)
    checkpoint = find_checkpoint(model, revision=None, offline=True, random_seed=None)
    eager = load_eager(checkpoint, *choose_task(request, checkpoint))
    context, traced = PassContext(OPSET, eager.config), trace(eager.module, OPSET)
    files = {}
    for number, (name, (mask_free, passes)) in enumerate(ALTERNATIVES.items()):
        graph = traced.clone()
        run_passes(graph, _RAISED, context)
        if mask_free and drop_masks(graph) != eager.config.num_hidden_layers:
            raise SystemExit(f"not every attention of {model} has a mask of its own")
        run_passes(graph, passes, context)
        files[name] = folder / f"{number}.onnx"
        save(graph, files[name])
    files[CHOOSING] = folder / "choosing.onnx"
    onnx.save(with_choices(onnx.load(files[next(iter(files))])), files[CHOOSING])
    return files, eager.config.vocab_size


def measure(files: dict[str, Path], shape: Shape, vocabulary: int, seconds: float) -> None:
    """Print a table of one shape."""
    inputs, names = make_inputs(shape, vocabulary), list(files)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(OPENINGS):
        sessions = {name: open_session(path, threads=1) for name, path in files.items()}
        for session in sessions.values():
            session.run(None, inputs)
        end = time.monotonic() + seconds / OPENINGS
        while True:
            random.shuffle(names)
            for name in names:
                begin = time.process_time()
                sessions[name].run(None, inputs)
                times[name].append(time.process_time() - begin)
            if time.monotonic() >= end:
                break
        del sessions
        gc.collect()
    first = np.array(times[next(iter(files))])
    print(f"\n{shape}: {len(first)} rounds; the first takes {1000 * float(np.median(first)):.1f} ms")
    print("| graph | shortest | shortest tenth | median |\n|---|---|---|---|")
    for name, values in times.items():
        other = np.array(values)
        low = [float(np.percentile(first, share) / np.percentile(other, share)) for share in (0, 10)]
        print(f"| {name} | {low[0]:.3f} | {low[1]:.3f} | {np.median(first / other):.3f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sample")
    parser.add_argument("--task", default="feature-extraction")
    parser.add_argument("--seconds", type=float, default=20, help="for each shape")
    parser.add_argument("--shapes", default=SHAPES, help="BxS: batches without padding")
    parser.add_argument("--only", metavar="TEXT", help="graphs whose name contains this")
    arguments = parser.parse_args()
    print(f"onnxruntime {ort.__version__}, {platform.machine()}, one thread, {arguments.model}")
    with tempfile.TemporaryDirectory() as folder:
        files, vocabulary = build(arguments.model, arguments.task, Path(folder))
        if arguments.only is not None:
            files = {name: path for name, path in files.items() if arguments.only in name}
        for shape in map(parse_shape, arguments.shapes.split(",")):
            measure(files, shape, vocabulary, arguments.seconds)


if __name__ == "__main__":
    main()
