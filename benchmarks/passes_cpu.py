"""Which operators are fastest on ONNX Runtime's CPU provider: every alternative, interleaved, in one run.

    python -m benchmarks.passes_cpu [--model sample] [--seconds 20] [--shapes 1x16,8x128:0.5] [--only "raw;ort-cpu"]

Each alternative is the same model after other passes. All sessions have two threads that do not spin. In every round
all alternatives run once, in another order each time. A ratio is the time of `raw` over the time of the alternative in
the same round: above 1 is faster than the graph as it was traced. Printed is the median with its quartiles, of wall
time and of processor time; on a machine that does other things, the latter is the one to trust.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.attention_onnx import lower_attention_onnx
from bert_onnx.checkpoint import find_checkpoint
from export.onnx_file.save import save
from export.passes.base import Pass, PassContext
from export.passes.table import PASSES
from export.reference.load import load_eager
from export.reference.task_choice import choose_task
from export.request import ExportRequest
from export.targets import ALGEBRA, CLOSE, FUSE, PREPARE, RAISE, TARGETS
from export.trace.tracer import trace

THREADS, LOADS = 2, 5

#: Where weights come to lie in memory makes a session a few percent faster or slower for as long as it lives: sessions
#: are opened anew this often for each shape, and run at least so many rounds each time.
OPENINGS, LEAST_ROUNDS = 4, 2
_RAISED = (*PREPARE, *RAISE)

#: Passes by name: those of exports, and what was measured and is not used.
_PASSES: dict[str, Pass] = {**PASSES, "lower_attention_onnx": lower_attention_onnx}

#: name -> (opset, passes). What differs from one line to the next is what is measured.
ALTERNATIVES: dict[str, tuple[int, tuple[str, ...]]] = {
    "raw": (18, TARGETS["portable"].passes),
    "plain": (18, (*_RAISED, "lower_plain", *CLOSE)),
    "algebra": (18, (*_RAISED, *(name for name in ALGEBRA if name != "merge_qkv"), "lower_plain", *CLOSE)),
    "algebra, merged": (18, (*_RAISED, *ALGEBRA, "lower_plain", *CLOSE)),
    "plain, BiasGelu": (18, (*_RAISED, "fuse_bias_gelu", "lower_plain", *CLOSE)),
    "plain, SkipLayerNorm": (18, (*_RAISED, "fuse_skip_layer_norm", "lower_plain", *CLOSE)),
    "plain, all but attention": (18, (*_RAISED, *FUSE, "lower_plain", *CLOSE)),
    "MultiHeadAttention": (18, (*_RAISED, "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "MultiHeadAttention, merged": (18, (*_RAISED, "merge_qkv", "lower_mha", *FUSE, "lower_plain", *CLOSE)),
    "ort-cpu": (18, TARGETS["ort-cpu"].passes),
    "ort-cpu, EmbedLayerNorm": (
        18,
        (*_RAISED, "lower_attention_microsoft", "fuse_embeddings", *FUSE, "lower_plain", *CLOSE),
    ),
    "ai.onnx Attention": (23, (*_RAISED, "lower_attention_onnx", *FUSE, "lower_plain", *CLOSE)),
    "unpadded, MultiHeadAttention": (
        18,
        (*_RAISED, *ALGEBRA, "unpad", "share_rows", "lower_mha", *FUSE, "lower_plain", *CLOSE),
    ),
    "ort-cpu-unpadded": (18, TARGETS["ort-cpu-unpadded"].passes),
}

SHAPES = "1x16,1x128,8x128,32x128,8x128:0.5,32x128:0.3"


@dataclass(frozen=True)
class Shape:
    """B texts of S tokens, of which the share `fill` is real; the first text is full."""

    batch: int
    length: int
    fill: float

    def __str__(self) -> str:
        return f"{self.batch}x{self.length}" + (f", fill {self.fill}" if self.fill < 1 else "")


def parse_shape(text: str) -> Shape:
    sizes, _, fill = text.partition(":")
    batch, length = sizes.split("x")
    return Shape(int(batch), int(length), float(fill or 1.0))


def make_inputs(shape: Shape, vocabulary: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.ones((shape.batch, shape.length), np.int64)
    if shape.fill < 1:
        for row in mask[1:]:
            low, high = 0.5 * shape.fill, min(1.0, 1.5 * shape.fill)
            row[max(1, round(shape.length * rng.uniform(low, high))) :] = 0
    ids = rng.integers(min(1000, vocabulary // 2), vocabulary, mask.shape)
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def build(model: str, task: str, names: list[str], folder: Path) -> tuple[dict[str, Path], dict[str, int], int]:
    """Files and node counts of the alternatives, and the size of the vocabulary."""
    request = ExportRequest(model, task=task)
    checkpoint = find_checkpoint(model, revision=None, offline=True, random_seed=None)
    eager = load_eager(checkpoint, *choose_task(request, checkpoint))
    graphs = {opset: trace(eager.module, opset) for opset in {ALTERNATIVES[name][0] for name in names}}
    files, nodes = {}, {}
    for number, name in enumerate(names):
        opset, passes = ALTERNATIVES[name]
        graph = graphs[opset].clone()
        for each in passes:
            _PASSES[each](graph, PassContext(opset, eager.config))
        files[name], nodes[name] = folder / f"{number}.onnx", graph.graph.num_nodes()
        save(graph, files[name])
    return files, nodes, eager.config.vocab_size


def open_session(path: Path, threads: int = THREADS) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quartiles(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


def measure_loads(files: dict[str, Path], nodes: dict[str, int]) -> None:
    print("\n| graph | nodes | load, ms of processor time | ratio |\n|---|---|---|---|")
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(LOADS):
        for name, path in files.items():
            begin = time.process_time()
            session = open_session(path)
            times[name].append(time.process_time() - begin)
            del session
            gc.collect()
    first = np.array(times[next(iter(files))])
    for name, values in times.items():
        ratio = quartiles(first / np.array(values))
        print(f"| {name} | {nodes[name]} | {1000 * float(np.median(values)):.0f} | {ratio} |")


def measure_runs(files: dict[str, Path], shape: Shape, vocabulary: int, seconds: float) -> None:
    inputs, names, rng = make_inputs(shape, vocabulary), list(files), random.Random(0)
    first, real = names[0], inputs["attention_mask"] > 0
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(OPENINGS):
        rng.shuffle(names)
        sessions = {name: open_session(files[name]) for name in names}
        answers = {name: session.run(None, inputs)[0][real] for name, session in sessions.items()}
        end, rounds = time.monotonic() + seconds / OPENINGS, 0
        while time.monotonic() < end or rounds < LEAST_ROUNDS:
            rng.shuffle(names)
            rounds += 1
            for name in names:
                begin, used = time.perf_counter(), time.process_time()
                sessions[name].run(None, inputs)
                wall[name].append(time.perf_counter() - begin)
                processor[name].append(time.process_time() - used)
        del sessions
        gc.collect()
    print(f"\n{shape}: {len(wall[first])} rounds; {first} takes {1000 * float(np.median(processor[first])):.1f} ms")
    print("| graph | processor time | wall time | largest difference |\n|---|---|---|---|")
    for name in files:
        ratios = (quartiles(np.array(kind[first]) / np.array(kind[name])) for kind in (processor, wall))
        difference = float(np.abs(answers[name] - answers[first]).max())
        print(f"| {name} | {' | '.join(ratios)} | {difference:.1e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sample")
    parser.add_argument("--task", default="feature-extraction")
    parser.add_argument("--seconds", type=float, default=20, help="for each shape")
    parser.add_argument("--shapes", default=SHAPES, help="BxS, or BxS:fill")
    parser.add_argument("--only", help="names, divided by ;, the first one is what ratios are against")
    arguments = parser.parse_args()
    names = list(ALTERNATIVES) if arguments.only is None else arguments.only.split(";")
    print(f"onnxruntime {ort.__version__}, {platform.machine()}, {THREADS} threads, {arguments.model}")
    with tempfile.TemporaryDirectory() as folder:
        files, nodes, vocabulary = build(arguments.model, arguments.task, names, Path(folder))
        measure_loads(files, nodes)
        for shape in map(parse_shape, arguments.shapes.split(",")):
            measure_runs(files, shape, vocabulary, arguments.seconds)


if __name__ == "__main__":
    main()
