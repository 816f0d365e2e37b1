"""The benchmark on a GPU, without one: it refuses, its batches are what they say, its figures are what they say."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from benchmarks.gpu import __main__ as command
from benchmarks.gpu.batches import LENGTHS, SIZES, batches, half_filled
from benchmarks.gpu.measure import Engine, Inputs, Prepared, Row, compare
from benchmarks.gpu.needs import require_gpu
from benchmarks.gpu.peak import Peak, data_sheet, measured
from benchmarks.gpu.report import PACKED, PADDED, aims_table, differences, failures, ratio_table, time_table
from benchmarks.graphs.batches import Batch, Texts
from benchmarks.graphs.measure import Timing, operations
from benchmarks.graphs.models import sample_folder
from bert_onnx.config import BertConfig
from bert_onnx.errors import RuntimeUnavailableError
from runtimes.machine.nvidia import Gpu, list_gpus

H100 = Gpu("NVIDIA H100 80GB HBM3", 81559, "580.0", "9.0")


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts(sample_folder(), 64)


# -- where there is no GPU


def test_without_a_gpu_one_sentence_says_so() -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"^there is no NVIDIA GPU here .* run make gpu on a machine"):
        require_gpu(lambda: ())


def test_a_gpu_that_onnxruntime_cannot_use_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailableError, match="CUDAExecutionProvider"):
        require_gpu(lambda: (H100,))


@pytest.mark.skipif(bool(list_gpus()), reason="this machine has a GPU")
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_the_command_refuses_with_a_status_of_its_own(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command.main([*arguments, "--docs", str(tmp_path), "--work", str(tmp_path / "work")]) == 11
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.gpu: there is no NVIDIA GPU here")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(bool(list_gpus()), reason="this machine has a GPU")
def test_make_gpu_stops_before_it_installs_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "gpu", f"GPU_VENV={tmp_path / 'venv'}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "make gpu needs a machine with an NVIDIA GPU" in done.stderr
    assert not (tmp_path / "venv").exists()


# -- batches


def test_every_size_and_length_twice(texts: Texts) -> None:
    made = list(batches(texts))
    shapes = {(batch.inputs["input_ids"].shape, batch.fill == 1.0) for batch in made}
    assert shapes >= {((rows, length), True) for rows in SIZES for length in LENGTHS}
    assert shapes >= {((rows, length), False) for rows in SIZES for length in LENGTHS if rows > 1}
    assert len(made) == len({batch.name for batch in made}) == 45
    assert (min(SIZES), max(SIZES), min(LENGTHS), max(LENGTHS)) == (1, 256, 16, 512)


@pytest.mark.parametrize(("rows", "length"), [(8, 16), (128, 128), (7, 64), (2, 512)])
def test_half_filled(texts: Texts, rows: int, length: int) -> None:
    batch = half_filled(texts.full(rows, length))
    mask = batch.inputs["attention_mask"]
    assert batch.fill == pytest.approx(0.5, abs=0.02 if rows > 4 and length > 16 else 0.1)
    assert (mask.sum(1) == batch.lengths).all()
    assert (batch.lengths.min(), batch.lengths.max()) == (1, length)
    assert (mask[:, 1:] <= mask[:, :-1]).all(), "padding is on the right"
    assert (batch.inputs["input_ids"][mask == 0] == 0).all()
    assert (half_filled(texts.full(rows, length)).lengths == batch.lengths).all(), "the same every time"


# -- arithmetic


def row(name: str = "128x128", fill: float = 1.0, precision: str = "fp16", **seconds: float) -> Row:
    """A batch that needs 10^9 operations, and engines that take so many seconds."""
    rows, length = (int(number) for number in name.split()[0].split("x"))
    mask = np.zeros((rows, length), np.int64)
    mask[:, : round(length * fill)] = 1
    names = {"padded": PADDED, "packed": PACKED, "sdpa": "torch sdpa", "o4": "optimum O4"}
    timings = tuple(
        Timing(names[who], who in ("padded", "packed"), np.full(5, time), 1e-3) for who, time in seconds.items()
    )
    return Row(Batch(name, {"attention_mask": mask}, mask.sum(1)), precision, timings, 1e9)


def test_share_of_the_peak() -> None:
    """10^9 operations in 2 ms are 5 * 10^11 a second, half of 10^12."""
    one = row(padded=2e-3)
    timing = one.find(PADDED)
    assert timing is not None
    assert one.share(timing, 1e12) == pytest.approx(0.5)
    assert "2 ms, 50%" in time_table([one], Peak(1e12, "data sheet"))


def test_operations_are_those_of_real_tokens(texts: Texts) -> None:
    """2 L (4 D^2 + 2 D F) a token, and 4 L n D for each of n."""
    config, full = BertConfig(), texts.full(8, 64)
    half = half_filled(full)
    dense = 2 * 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert operations(config, full.lengths) == 8 * (64 * dense + 4 * 12 * 768 * 64**2)
    assert operations(config, half.lengths) == sum(n * dense + 4 * 12 * 768 * n**2 for n in half.lengths.tolist())


def test_ratio_is_the_fastest_peers_time_to_our_fastest() -> None:
    table = ratio_table([row(padded=0.2, packed=0.1, sdpa=0.4, o4=0.25)])
    assert "| 128x128 | ours: packed | optimum O4 | 2.50x (2.50-2.50) | 1.0e-03 |" in table
    assert "| 128x128 | - | - | - | - |" in ratio_table([row(padded=0.2)])


@pytest.mark.parametrize(("seconds", "verdict"), [(2.0e-3, "met"), (2.3e-3, "missed")])
def test_the_aim_of_a_share(seconds: float, verdict: str) -> None:
    table = aims_table([row(padded=seconds, sdpa=1.0)], Peak(1e12, "data sheet"))
    assert f"{0.001 / seconds:.1%} (ours: padded) | {verdict} |" in table.splitlines()[2]


@pytest.mark.parametrize(("packed", "verdict"), [(0.1, "met"), (0.12, "missed")])
def test_the_aim_of_skipping_padding(packed: float, verdict: str) -> None:
    table = aims_table([row("128x128 half", 0.5, padded=0.175, packed=packed, sdpa=1.0)], Peak(1e12, "here"))
    assert table.splitlines()[3].endswith(f"| {verdict} |")
    assert f"{0.175 / packed:.2f}x" in table


def test_the_aim_to_be_ahead_everywhere() -> None:
    ahead, behind = row("8x16", padded=0.1, sdpa=0.2), row("8x64", padded=0.3, packed=0.25, sdpa=0.2)
    peak = Peak(1e12, "here")
    assert "1 of 1 shapes; least 2.00x at 8x16 | met |" in aims_table([ahead], peak)
    assert "1 of 2 shapes; least 0.80x at 8x64 | missed |" in aims_table([ahead, behind], peak)


def test_what_was_not_measured_is_not_met() -> None:
    lines = aims_table([row("8x16", precision="fp32", padded=0.1, sdpa=0.2)], Peak(1e12, "here")).splitlines()[2:]
    assert len(lines) == 3
    assert all(line.endswith("| - | not measured |") for line in lines)
    nothing = aims_table([row("8x16", padded=0.1)], Peak(1e12, "here")).splitlines()[4]
    assert nothing.endswith("not measured |"), "a shape without a peer says nothing of peers"


def test_data_sheets_are_for_gpus_that_we_know() -> None:
    assert data_sheet(H100.name, "fp16") == Peak(989e12, "data sheet")
    assert data_sheet(H100.name, "fp32") is None
    assert data_sheet("NVIDIA H100 PCIe", "fp16") is None
    assert data_sheet("NVIDIA T4", "fp16") is None


def test_a_bare_product_is_measured_by_its_fastest_run() -> None:
    waits = iter([0.0, 0.02, 0.005, 0.02, 0.02, 0.02, 0.02, 0.02])
    peak = measured(lambda: None, lambda: time.sleep(next(waits)), side=100)
    assert 2 * 100**3 / 0.02 < peak.operations <= 2 * 100**3 / 0.005


# -- measuring, with engines that are numpy


def engine(name: str, ours: bool, offset: float, seconds: float = 0.0) -> Engine:
    """Gives zeros and `offset` on real tokens, 9 at padding, after so many seconds."""

    def prepare(inputs: Inputs) -> Prepared:
        mask = inputs["attention_mask"][..., None]

        def answer() -> np.ndarray:
            return np.where(mask, np.float32(offset), np.float32(9)) * np.ones(4, np.float32)

        return Prepared(lambda: time.sleep(seconds), answer)

    return Engine(name, ours, prepare)


def broken(inputs: Inputs) -> Prepared:
    raise MemoryError("out of memory\nand much more")


def eager(inputs: Inputs) -> np.ndarray:
    return np.zeros((*inputs["input_ids"].shape, 4), np.float32)


def test_engines_take_turns_and_one_that_fails_is_told(texts: Texts) -> None:
    engines = [engine(PADDED, True, 0.25, 1e-3), engine("torch sdpa", False, 0.0, 3e-3), Engine("o4", False, broken)]
    waited: list[int] = []
    batch = half_filled(texts.full(4, 16))
    found = compare(engines, eager, batch, "fp16", 1e9, 0.0, lambda: waited.append(1))
    assert [one.name for one in found.timings] == [PADDED, "torch sdpa"]
    assert [one.difference for one in found.timings] == [0.25, 0.0], "padding does not count"
    assert {len(one.seconds) for one in found.timings} == {3}
    assert len(waited) == 2 * (2 + 2 * 3), "before and after each measurement"
    assert found.failed == {"o4": "MemoryError: out of memory"}
    ours, peer = found.best(ours=True), found.best(ours=False)
    assert ours is not None
    assert peer is not None
    assert 1e-3 <= ours.median < peer.median
    assert "failed" in time_table([found], Peak(1e12, "here"))
    assert failures([found]) == ["* o4 in fp16 on 4x16 half: MemoryError: out of memory"]
    assert differences([found, found]) == {PADDED: 0.25, "torch sdpa": 0.0}


class _Machine:
    """A machine whose GPU is numpy."""

    name = H100.name
    config = BertConfig()

    def engines(self, precision: str) -> list[Engine]:
        far = 1e-3 if precision == "fp16" else 1e-6
        return [engine(PADDED, True, far), engine(PACKED, True, far), engine("torch sdpa", False, 0.0)]

    def reference(self, inputs: Inputs) -> np.ndarray:
        return eager(inputs)

    def product(self, precision: str) -> Callable[[], object]:
        return lambda: time.sleep(1e-4)

    def wait(self) -> None:
        """Nothing is under way."""


def test_the_page_holds_every_precision_batch_and_engine(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.measure._SHORTEST_SECONDS", 1e-5)
    page = command.measure(_Machine(), list(batches(texts, quick=True)), 0.0, {"optimum": "ImportError: no optimum"})
    assert page.startswith("# Graphs on a GPU\n")
    for words in ("NVIDIA H100 80GB HBM3", "## fp32", "## fp16", "128x128 half", "989 TFLOP/s (data sheet;"):
        assert words in page
    assert page.count("| 128x128 half |") == 4, "two tables a precision"
    assert "* optimum could not be made: ImportError: no optimum" in page
    for line in page.splitlines():
        assert not line.startswith("|") or line.endswith("|")
