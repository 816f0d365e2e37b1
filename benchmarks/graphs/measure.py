"""Times competitors side by side: in every round each of them runs once, in an order of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.graphs.batches import Batch
from benchmarks.graphs.engines import Engine, Run
from bert_onnx.config import BertConfig

#: A measurement repeats a forward pass until it has taken this long.
_SHORTEST_SECONDS = 0.05
#: Rounds of one batch: until its time is over, but at least and at most so many.
_LEAST_ROUNDS, _MOST_ROUNDS = 2, 31
#: Sides of the square product that tells what the machine can do.
_PEAK_SIDE = 2048

#: How the names of peers begin that run on ONNX Runtime.
ON_ONNXRUNTIME = "optimum"

#: What `--clock` chooses. Processor time is for machines that others use, too: it leaves out waiting, and adds up the
#: threads, so that it says what the work costs and not how well it is spread.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Timing:
    """One competitor on one batch.

    Args:
        name, ours: the competitor.
        seconds: of one forward pass, one entry a round.
        difference: largest difference from eager torch on real tokens.
    """

    name: str
    ours: bool
    seconds: np.ndarray
    difference: float

    @property
    def median(self) -> float:
        """Median seconds of one forward pass."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Comparison:
    """All competitors on one batch.

    Args:
        model: its name.
        batch: what they ran on.
        timings: one entry a competitor.
        needed: floating point operations that the batch's real tokens need.
        products: seconds of the bare products, [rounds, products].
    """

    model: str
    batch: Batch
    timings: tuple[Timing, ...]
    needed: float
    products: np.ndarray

    @property
    def best_peer(self) -> Timing:
        """The peer with the shortest median time; without padding, of those that run on ONNX Runtime."""
        peers = [timing for timing in self.timings if not timing.ours]
        if self.batch.fill == 1.0:
            peers = [timing for timing in peers if timing.name.startswith(ON_ONNXRUNTIME)] or peers
        return min(peers, key=lambda timing: timing.median)

    def find(self, name: str) -> Timing:
        """The timing of one competitor."""
        return next(timing for timing in self.timings if timing.name == name)

    def ratios(self, timing: Timing, peer: Timing | None = None) -> np.ndarray:
        """Peer's time / its time, round by round; the peer is the best one unless another is given."""
        return (peer or self.best_peer).seconds / timing.seconds

    def share(self, timing: Timing) -> float:
        """Operations on real tokens a second, as a share of those of the faster bare product."""
        peak = 2 * _PEAK_SIDE**3 / float(np.median(self.products, axis=0).min())
        return self.needed / timing.median / peak

    def joined(self, other: Comparison) -> Comparison:
        """The rounds of both, of the same competitors on the same batch."""
        timings = tuple(
            Timing(
                one.name,
                one.ours,
                np.concatenate([one.seconds, other.find(one.name).seconds]),
                max(one.difference, other.find(one.name).difference),
            )
            for one in self.timings
        )
        products = np.concatenate([self.products, other.products])
        return Comparison(self.model, self.batch, timings, self.needed, products)


def operations(config: BertConfig, lengths: np.ndarray) -> float:
    """Floating point operations that real tokens need: 2 L (4 D^2 + 2 D F) a token, 4 L n D for each of n."""
    layers, width, wide = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    dense = 2 * layers * (4 * width**2 + 2 * width * wide)
    return float(dense * lengths.sum() + 4 * layers * width * (lengths.astype(np.float64) ** 2).sum())


def compare(
    model: str,
    config: BertConfig,
    engines: Sequence[Engine],
    reference: Run,
    products: Sequence[Callable[[], object]],
    batch: Batch,
    seconds: float,
    clock: str = "wall",
) -> Comparison:
    """Time `engines` on `batch` for about `seconds`, round by round, the bare `products` among them.

    Args:
        reference: the eager model that differences are taken from.
        clock: `wall` or `cpu`.
    """
    rng, now = np.random.default_rng(0), CLOCKS[clock]
    real = batch.inputs["attention_mask"][..., None] > 0
    expected = reference(batch.inputs)
    repeats: dict[str, int] = {}
    differences: dict[str, float] = {}
    for engine in engines:
        differences[engine.name] = float(np.abs(np.where(real, engine.run(batch.inputs) - expected, 0)).max())
        repeats[engine.name] = max(1, round(_SHORTEST_SECONDS / _time(partial(engine.run, batch.inputs))))
    times: dict[str, list[float]] = {engine.name: [] for engine in engines}
    bare: list[list[float]] = []
    started = time.monotonic()
    while len(bare) < _LEAST_ROUNDS or (len(bare) < _MOST_ROUNDS and time.monotonic() - started < seconds):
        bare.append([_time(product, now=now) for product in products])
        for place in rng.permutation(len(engines)):
            engine = engines[place]
            times[engine.name].append(_time(partial(engine.run, batch.inputs), repeats[engine.name], now))
    timings = tuple(
        Timing(engine.name, engine.ours, np.array(times[engine.name]), differences[engine.name]) for engine in engines
    )
    return Comparison(model, batch, timings, operations(config, batch.lengths), np.array(bare))


def _time(call: Callable[[], object], repeats: int = 1, now: Callable[[], float] = time.perf_counter) -> float:
    started = now()
    for _ in range(repeats):
        call()
    return (now() - started) / repeats


def bare_products(threads: int) -> tuple[Callable[[], object], ...]:
    """A large float32 product in torch and in ONNX Runtime: the faster of the two is the machine's peak."""
    import onnx
    import onnxruntime
    import torch

    side = np.ones((_PEAK_SIDE, _PEAK_SIDE), np.float32)
    left = torch.from_numpy(side)
    torch.set_num_threads(threads)
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, side.shape) for name in "xy"]
    weight = onnx.numpy_helper.from_array(side, "w")
    product = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([product], "product", info[:1], info[1:], [weight])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return (lambda: left @ left), (lambda: session.run(["y"], {"x": side}))


def load_times(paths: dict[str, str], opening: Callable[[str], object], rounds: int) -> dict[str, np.ndarray]:
    """Seconds that `opening` takes for each path, round by round; the files are in the page cache."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, path in paths.items():
            times[name].append(_time(partial(opening, path)))
    return {name: np.array(values) for name, values in times.items()}
