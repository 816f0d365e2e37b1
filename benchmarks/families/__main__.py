"""Graphs of BERT's family beside optimum's of the same checkpoints, and beside BERT's own: docs/benchmarks-families.md.

    python -m benchmarks.families [--quick] [--layers 4] [--seconds 60] [--threads 2] [--work DIR] [--page FILE]

Random weights of base width. Every file is opened at once, and in every round each runs once, in an order of its own;
none spins between its runs. Graphs in DIR are used again. --quick takes tiny models of two families,
and writes nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.families.models import MODEL_TYPES, TARGETS_MEASURED, VOCABULARY, make_member
from benchmarks.families.report import write_page
from benchmarks.graphs.engines import onnxruntime_session
from benchmarks.machine import describe_machine
from bert_onnx.config import BertConfig

_QUICK = ("bert", "albert")
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks-families.md"
_PACKAGES = ("onnxruntime", "optimum", "optimum-onnx", "transformers", "torch", "onnx")

#: Lengths of the texts of each batch.
BATCHES = {"8 texts, fill 0.5": (128, 96, 80, 64, 48, 40, 32, 24), "one text": (16,)}

#: A pass is repeated until it has taken this long; rounds of a batch, however long they take.
_SHORTEST_SECONDS, _LEAST_ROUNDS = 0.03, 2


def open_call(path: Path, config: BertConfig, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Runs a file on texts of the lengths that it is given, padded on the right: last hidden state [B, S, D]."""
    session = onnxruntime_session(path, threads)
    names = {port.name for port in session.get_inputs()}

    def run(lengths: np.ndarray) -> np.ndarray:
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.random.default_rng(0).integers(5, VOCABULARY, mask.shape)
        inputs = {
            "input_ids": np.where(mask == 1, ids, config.pad_token_id or 0),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        found: np.ndarray = session.run(["last_hidden_state"], {name: inputs[name] for name in names})[0]
        return found

    return run


def largest_difference(
    calls: Mapping[tuple[str, str], Callable[..., np.ndarray]], name: str, texts: np.ndarray
) -> float:
    """Of our fp32 outputs from optimum's, on real tokens."""
    real = (np.arange(texts.max()) < texts[:, None])[..., None]
    expected = calls[name, "fp32 optimum"](texts)
    return max(
        float(np.abs((calls[name, f"fp32 {target}"](texts) - expected) * real).max()) for target in TARGETS_MEASURED
    )


def take_rounds(calls: Mapping[Any, Callable[[], object]], seconds: float) -> dict[Any, np.ndarray]:
    """Seconds of each call, an entry a round, for about `seconds` in all."""
    rng, names = np.random.default_rng(0), list(calls)
    repeats = {name: max(1, round(_SHORTEST_SECONDS / _time(calls[name], 1))) for name in names}
    times: dict[Any, list[float]] = {name: [] for name in names}
    started, rounds = time.monotonic(), 0
    while rounds < _LEAST_ROUNDS or time.monotonic() - started < seconds:
        for place in rng.permutation(len(names)):
            times[names[place]].append(_time(calls[names[place]], repeats[names[place]]))
        rounds += 1
    return {name: np.array(values) for name, values in times.items()}


def _time(call: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def main() -> int:
    """The command."""
    arguments = _arguments()
    work = Path(arguments.work or tempfile.mkdtemp(prefix="bert-onnx-families-"))
    layers, width = (2, 64) if arguments.quick else (arguments.layers, 768)
    members = {name: make_member(name, work, layers, width) for name in (_QUICK if arguments.quick else MODEL_TYPES)}
    calls = {
        (name, file): open_call(path, member.config, arguments.threads)
        for name, member in members.items()
        for file, path in member.files.items()
    }
    lengths = {batch: np.array(texts) for batch, texts in BATCHES.items()}
    times = {
        batch: take_rounds(
            {key: partial(call, texts) for key, call in calls.items()}, 0.0 if arguments.quick else arguments.seconds
        )
        for batch, texts in lengths.items()
    }
    arithmetic = {
        (batch, name): member.multiply_adds(texts)
        for batch, texts in lengths.items()
        for name, member in members.items()
    }
    difference = max(largest_difference(calls, name, texts) for name in members for texts in lengths.values())
    page = write_page(times, arithmetic, difference, (layers, width), describe_machine(_PACKAGES))
    if not arguments.quick:
        Path(arguments.page).write_text(page, encoding="utf-8")
    print(page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny models of two families; writes nothing")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long each batch is measured")
    parser.add_argument("--work", help="where graphs are kept from one run to the next (default: a new folder)")
    parser.add_argument("--page", default=str(_PAGE), help="where the page goes")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
