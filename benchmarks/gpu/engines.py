"""All competitors on one machine: our graphs, those of peers, and transformers' module as it is and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.gpu.machine import Machine, Ports, Prepare, prepared_module
from benchmarks.gpu.measure import Engine, reason_of
from benchmarks.gpu.models import PADDED_TARGET, UNPADDED_TARGET, OurGraphs, load_peer
from benchmarks.gpu.varlen import VarlenBert

PADDED, CAPTURED, UNPADDED = "ours: padded", "ours: padded, CUDA graph", "ours: unpadded"
_GRAPH = ", CUDA graph"
#: Beyond, kernels take longer than to launch them, and every captured shape keeps memory.
CAPTURED_MOST = 128 * 128
_CAPTURING = (_GRAPH, "reduce-overhead")

Opener = Callable[[], Prepare]


def open_engines(
    machine: Machine, ours: OurGraphs, peers: dict[str, Path], checkpoint: Path, precision: str
) -> tuple[list[Engine], dict[str, str]]:
    """The competitors that can be opened here, and why the others cannot."""
    engines, refused = [], {}
    modules = _modules(machine, checkpoint, precision)
    for name, mine, opener in (*_ours(machine, ours), *_peers(machine, ours.ports, peers), *modules):
        try:
            engines.append(Engine(name, mine, opener(), CAPTURED_MOST if name.endswith(_CAPTURING) else None))
        except Exception as error:  # a library that is missing, a graph that is not captured: a finding
            refused[name] = reason_of(error)
    return engines, refused


def _ours(machine: Machine, ours: OurGraphs) -> Iterator[tuple[str, bool, Opener]]:
    yield PADDED, True, partial(machine.session, ours.paths[PADDED_TARGET], ours.ports)
    yield CAPTURED, True, partial(machine.session, ours.paths[PADDED_TARGET], ours.ports, True)
    yield UNPADDED, True, partial(machine.session, ours.paths[UNPADDED_TARGET], ours.ports)


def _peers(machine: Machine, ports: Ports, peers: dict[str, Path]) -> Iterator[tuple[str, bool, Opener]]:
    """Packing waits for the GPU, so that it cannot be captured."""
    for name, path in peers.items():
        yield name, False, partial(machine.session, path, ports)
        if "packing" not in name:
            yield name + _GRAPH, False, partial(machine.session, path, ports, True)


def _modules(machine: Machine, checkpoint: Path, precision: str) -> Iterator[tuple[str, bool, Opener]]:
    def module(attention: str) -> Prepare:
        return partial(
            prepared_module, load_peer(checkpoint, attention, machine.device, precision), machine.device, False
        )

    def varlen() -> Prepare:
        bert = load_peer(checkpoint, "sdpa", machine.device, precision)
        return partial(prepared_module, VarlenBert(bert).eval(), machine.device, False)

    def compiled(reduce_overhead: bool) -> Prepare:
        return machine.compiled(load_peer(checkpoint, "sdpa", machine.device, precision), reduce_overhead)

    yield "torch sdpa", False, lambda: module("sdpa")
    if precision == "fp16":
        yield "torch FlashAttention 2", False, lambda: module("flash_attention_2")
        yield "torch varlen", False, varlen
    yield "torch.compile", False, lambda: compiled(False)
    yield "torch.compile reduce-overhead", False, lambda: compiled(True)
