"""Texts a second, offline: our runtimes beside sentence-transformers and fastembed, the same texts, in turns, one run.

    python -m benchmarks.throughput [--quick] [--rounds N] [--artifact DIR] [--int8]

Texts are docstrings of Python and numpy. All programs run in this process, on as many threads as the machine allows,
once each round and in an order that turns around. Ratios are of processor time as well as of wall time: on a machine
that others use, processor time is the one to trust.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine, int8_isa
from benchmarks.measure import Spread, markdown_table, run_process
from benchmarks.options import Options

TITLE = "Offline throughput"
ROUNDS = 5
PACKAGES = ("onnxruntime", "openvino", "torch", "sentence-transformers", "fastembed", "tokenizers")
MODULES = (
    "argparse",
    "asyncio",
    "collections",
    "json",
    "logging",
    "numpy",
    "pathlib",
    "statistics",
    "subprocess",
    "threading",
)
#: Workload -> how many texts, least and most characters of each.
WORKLOADS: dict[str, tuple[int, int, int]] = {"short": (300, 20, 400), "mixed": (100, 20, 4000)}
_QUICK_TEXTS = 8
PEERS = ("sentence-transformers, torch", "sentence-transformers, onnx", "fastembed")

_TEXT = """{texts} Ratios are to the best peer in the same round: median [least, most] of {rounds} rounds; above 1 is
faster. Cosine is the smallest between a vector and that of sentence-transformers on torch.

{tables}

{machine}"""

Embed = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Timed:
    """What a program took in every round, and how far its vectors are from the reference."""

    wall: list[float]
    processor: list[float]
    cosine: float


def section(options: Options, artifact: Path | None = None, int8: bool = False) -> str:
    """Measure, and return the section's text."""
    with TemporaryDirectory() as scratch:
        if artifact is None:
            artifact = Path(scratch) / "artifact"
            options.report("exporting the sample")
            export_sample(artifact, int8)
        programs = open_programs(artifact)
        rounds = options.rounds_of(ROUNDS)
        tables, told = [], []
        for name, (count, least, most) in WORKLOADS.items():
            texts = docstrings(_QUICK_TEXTS if options.quick else count, least, most)
            told.append(f"{name.capitalize()}: {len(texts)} docstrings of {least} to {most} characters.")
            tables.append(
                f"### {name.capitalize()} texts\n\n{table(measure(programs, texts, rounds, options), len(texts))}"
            )
    return _TEXT.format(
        texts=" ".join(told), rounds=rounds, tables="\n\n".join(tables), machine=describe_machine(PACKAGES)
    )


def export_sample(artifact: Path, int8: bool) -> None:
    """The sample model for CPUs."""
    command = [str(Path(sys.executable).parent / "bert-onnx"), "export", "sample", "--output", str(artifact)]
    for target in ("portable", "ort-cpu-unpadded", "openvino-unpadded"):
        command += ["--target", target]
    run_process([*command, *(["--precision", "fp32,int8", "--isa", int8_isa()] if int8 else [])])


def open_programs(artifact: Path) -> dict[str, Embed]:
    """Peers that are installed, then every variant of ours on ONNX Runtime and OpenVINO."""
    from runtimes import load

    programs = dict(_sentence_transformers(artifact))
    if find_spec("fastembed") is not None:
        programs["fastembed"] = _fastembed(artifact)
    wanted = [("onnxruntime-cpu", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
    for runtime, precision in [*wanted, ("onnxruntime-cpu", "int8")]:
        with suppress(Exception):  # not in this artifact, or not on this machine
            model = load(artifact, runtime=runtime, precision=precision, check_hashes=False)
            described = model.describe()
            programs[f"ours, {runtime}, {precision} (`{described.variant}`)"] = model.embed
    return programs


def _sentence_transformers(artifact: Path) -> list[tuple[str, Embed]]:
    import torch
    from sentence_transformers import SentenceTransformer

    from bert_onnx.checkpoint import find_checkpoint
    from runtimes.machine.cpu import usable_threads

    torch.set_num_threads(usable_threads())
    torch_model = SentenceTransformer(str(find_checkpoint("sample").folder), device="cpu")
    onnx_model = SentenceTransformer(
        str(artifact), backend="onnx", device="cpu", model_kwargs={"file_name": "onnx/model.onnx"}
    )

    def embed(model: Any) -> Embed:
        return lambda texts: np.asarray(model.encode(texts, batch_size=32, show_progress_bar=False))

    return [(PEERS[0], embed(torch_model)), (PEERS[1], embed(onnx_model))]


def _fastembed(artifact: Path) -> Embed:
    """fastembed on the artifact's own files, laid out as its download would be."""
    from fastembed import TextEmbedding

    folder = artifact.parent / "fastembed"
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(artifact / name, folder / name)
    shutil.copy(artifact / "onnx" / "model.onnx", folder / "model.onnx")
    model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", specific_model_path=str(folder))
    return lambda texts: np.stack(list(model.embed(texts, batch_size=32)))


def docstrings(count: int, least: int, most: int) -> list[str]:
    """`count` docstrings of `MODULES` with at least `least` characters, cut to `most`; the same every time."""
    found: dict[str, None] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for _, thing in sorted(vars(module).items()):
            text = inspect.getdoc(thing) if callable(thing) else None
            if text and len(text) >= least:
                found[text[:most]] = None
    chosen = list(found)
    stride = max(1, len(chosen) // count)
    return chosen[::stride][:count]


def measure(programs: Mapping[str, Embed], texts: list[str], rounds: int, options: Options) -> dict[str, Timed]:
    """Every program once a round, after a run of each that is not counted and gives the vectors to compare."""
    vectors = {}
    for name, embed in programs.items():
        options.report(f"{name}: first run")
        vectors[name] = embed(texts)
    reference = next(iter(vectors.values()))
    times: dict[str, Timed] = {
        name: Timed([], [], float(_cosines(vector, reference).min())) for name, vector in vectors.items()
    }
    order = list(programs)
    for number in range(rounds):
        for name in order if number % 2 == 0 else reversed(order):
            wall, processor = time.perf_counter(), time.process_time()
            programs[name](texts)
            times[name].wall.append(time.perf_counter() - wall)
            times[name].processor.append(time.process_time() - processor)
            options.report(f"round {number + 1} of {rounds}: {name}: {len(texts) / times[name].wall[-1]:.0f} texts/s")
    return times


def table(times: Mapping[str, Timed], count: int) -> str:
    """One row a program."""
    best_wall = _best_peer({name: timed.wall for name, timed in times.items()})
    best_processor = _best_peer({name: timed.processor for name, timed in times.items()})
    rows = [
        [
            name,
            Spread.of([count / seconds for seconds in timed.wall]).show(0),
            _ratio(best_wall, timed.wall),
            f"{1000 * Spread.of(timed.processor).median / count:.1f}",
            _ratio(best_processor, timed.processor),
            f"{timed.cosine:.5f}",
        ]
        for name, timed in times.items()
    ]
    header = ("program", "texts/s", "ratio", "processor ms a text", "ratio", "cosine")
    return markdown_table(header, rows)


def _best_peer(times: Mapping[str, Sequence[float]]) -> list[float]:
    """The least that any peer took, round by round."""
    return [min(figures) for figures in zip(*(times[name] for name in PEERS if name in times), strict=True)]


def _ratio(best: Sequence[float], own: Sequence[float]) -> str:
    return Spread.of([theirs / ours for theirs, ours in zip(best, own, strict=True)]).show(2)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds in which programs take turns")
    parser.add_argument("--artifact", type=Path, metavar="DIR", help="an export of the sample (default: a new one)")
    parser.add_argument("--int8", action="store_true", help="export an int8 variant, too")
    chosen = parser.parse_args()
    options = Options(chosen.quick, chosen.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    print(f"## {TITLE}\n\n{section(options, chosen.artifact, chosen.int8)}")


if __name__ == "__main__":
    main()
