"""The benchmark's engines on a fake GPU that computes: one stream, buffers bound once, graphs captured where asked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_cuda import FakeGpu, install

from benchmarks.gpu.batches import batches
from benchmarks.gpu.engines import CAPTURED, CAPTURED_MOST, PADDED, UNPADDED, open_engines
from benchmarks.gpu.machine import NvidiaMachine, judge_of
from benchmarks.gpu.measure import compare
from benchmarks.gpu.models import TINY, OurGraphs, load_peer, our_graphs, random_checkpoint

STREAM = 4660


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("machine"), TINY)


@pytest.fixture(scope="module")
def ours(checkpoint: Path) -> OurGraphs:
    return our_graphs(checkpoint, checkpoint.parent, "fp32", for_cpu=True)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    for name, value in (("Stream", lambda: SimpleNamespace(cuda_stream=STREAM)), ("set_stream", lambda stream: None)):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "compile", lambda module, dynamic, mode: module)
    monkeypatch.setattr(NvidiaMachine, "device", "cpu")
    return install(monkeypatch)


def test_every_engine_computes_what_eager_torch_does(
    gpu: FakeGpu, checkpoint: Path, ours: OurGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.measure._SHORTEST_SECONDS", 1e-5)
    machine = NvidiaMachine()
    engines, refused = open_engines(
        machine, ours, {"onnxruntime packing": checkpoint / "none.onnx"}, checkpoint, "fp32"
    )
    assert refused.keys() == {"onnxruntime packing"}
    eager = load_peer(checkpoint, "eager", "cpu")
    for batch in batches(4, 16, TINY["vocab_size"]):
        gpu.graph_ids.clear()
        allocated = len(gpu.allocated)
        row = compare(engines, judge_of(eager, "cpu", batch.inputs), batch, "fp32", 1e9, 0.0, machine.wait, {})
        assert row.failed == {}
        names = [PADDED, CAPTURED, UNPADDED, "torch sdpa", "torch.compile", "torch.compile reduce-overhead"]
        assert [one.name for one in row.timings] == names
        assert max(one.difference for one in row.timings) < 1e-5
        assert len(gpu.allocated) - allocated == 3, "an output buffer for each of ours, whatever the number of runs"
        assert len({number for number in gpu.graph_ids if number != "-1"}) == 1, "one graph a batch"
        assert gpu.graph_ids.count("-1") == 2 * (len(gpu.graph_ids) - gpu.graph_ids.count("-1")), "of one engine alone"


def test_sessions_share_torchs_stream_and_compute_fp32_in_fp32(gpu: FakeGpu, ours: OurGraphs) -> None:
    machine = NvidiaMachine()
    for capture in (False, True):
        machine.session(ours.paths["ort-cuda"], ours.ports, capture)
    for session, captures in zip(gpu.sessions, "01", strict=True):
        options = session[0][1]
        assert options["user_compute_stream"] == str(STREAM)
        assert options["use_tf32"] == "0"
        assert options["enable_cuda_graph"] == captures


def test_what_is_captured_takes_part_where_launches_count(gpu: FakeGpu, checkpoint: Path, ours: OurGraphs) -> None:
    engines, _ = open_engines(NvidiaMachine(), ours, {}, checkpoint, "fp32")
    limited = {engine.name for engine in engines if engine.most == CAPTURED_MOST}
    assert limited == {CAPTURED, "torch.compile reduce-overhead"}
    assert {engine.most for engine in engines if engine.name not in limited} == {None}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1755, 2619, 1980, 651.25, 60\n", [1755.0, 2619.0, 1980.0, 651.25, 60.0]),
        ("1755, 2619, 1980, [N/A], 60\n", []),
        ("1755, 2619\n", []),
        ("", []),
    ],
)
def test_clocks_are_read_where_they_can_be(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, said: str, expected: list[float]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: SimpleNamespace(stdout=said))
    assert list(NvidiaMachine().clocks().values()) == expected


def test_no_clocks_without_nvidia_smi(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert NvidiaMachine().clocks() == {}


def test_padding_does_not_count_when_outputs_are_judged(checkpoint: Path) -> None:
    _, half = batches(4, 16, TINY["vocab_size"])
    judge = judge_of(load_peer(checkpoint, "eager", "cpu"), "cpu", half.inputs)
    states = load_peer(checkpoint, "sdpa", "cpu")(
        **{name: torch.from_numpy(array) for name, array in half.inputs.items()}
    ).last_hidden_state.detach()
    wrong = np.argwhere(half.inputs["attention_mask"] == 0)[0]
    states[tuple(wrong)] += 9
    assert judge(states) < 1e-5
    states[0, 0] += 9
    assert judge(states) > 1
