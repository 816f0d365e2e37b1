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
from benchmarks.gpu.engines import CAPTURED, PADDED, UNPADDED
from benchmarks.gpu.measure import Engine, GpuLostError, Inputs, Judge, Prepared, compare
from benchmarks.gpu.needs import require_gpu
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.peak import data_sheet, measured
from benchmarks.gpu.report import aims_table, choices_table, differences, failures, ratio_table, time_table
from benchmarks.gpu.results import Peak, Row, Timing
from benchmarks.graphs.batches import Batch
from benchmarks.graphs.measure import operations
from bert_onnx.config import BertConfig
from bert_onnx.errors import RuntimeUnavailableError
from runtimes.machine.nvidia import Gpu, list_gpus

H100 = Gpu("NVIDIA H100 80GB HBM3", 81559, "580.0", "9.0")


def full(rows: int, length: int) -> Batch:
    return next(batches(rows, length, 600))


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


def test_every_size_and_length_full_and_half_filled() -> None:
    shapes = {
        shape for part in PARTS.values() if part is not None and part.precision == "fp16" for shape in part.shapes
    }
    assert shapes == {(rows, length) for rows in SIZES for length in LENGTHS}
    made = [batch for shape in shapes for batch in batches(*shape, 600)]
    assert len(made) == len({batch.name for batch in made}) == 45
    assert (min(SIZES), max(SIZES), min(LENGTHS), max(LENGTHS)) == (1, 256, 16, 512)


@pytest.mark.parametrize(("rows", "length"), [(8, 16), (128, 128), (7, 64), (2, 512)])
def test_half_filled(rows: int, length: int) -> None:
    whole, batch = batches(rows, length, 600)
    assert whole.fill == 1.0
    assert 0 < whole.inputs["input_ids"].min() <= whole.inputs["input_ids"].max() < 600
    mask = batch.inputs["attention_mask"]
    assert batch.fill == pytest.approx(0.5, abs=0.02 if rows > 4 and length > 16 else 0.1)
    assert (mask.sum(1) == batch.lengths).all()
    assert (batch.lengths.min(), batch.lengths.max()) == (1, length)
    assert (mask[:, 1:] <= mask[:, :-1]).all(), "padding is on the right"
    assert (batch.inputs["input_ids"][mask == 0] == 0).all()
    assert (half_filled(full(rows, length)).lengths == batch.lengths).all(), "the same every time"


# -- arithmetic


def row(name: str = "128x128", fill: float = 1.0, precision: str = "fp16", **seconds: float) -> Row:
    """A batch that needs 10^9 operations, and engines that take so many seconds."""
    rows, length = (int(number) for number in name.split()[0].split("x"))
    names = {"padded": PADDED, "unpadded": UNPADDED, "captured": CAPTURED, "sdpa": "torch sdpa", "o4": "optimum"}
    timings = [Timing(names[who], names[who].startswith("ours"), [time] * 5, 1e-3) for who, time in seconds.items()]
    return Row(precision, name, rows, length, round(rows * length * fill), 1e9, timings)


def test_share_of_the_peak() -> None:
    """10^9 operations in 2 ms are 5 * 10^11 a second, half of 10^12."""
    one = row(padded=2e-3)
    timing = one.find(PADDED)
    assert timing is not None
    assert one.share(timing, 1e12) == pytest.approx(0.5)
    assert "2 ms, 50%" in time_table([one], Peak(1e12, "data sheet"))


def test_operations_are_those_of_real_tokens() -> None:
    """2 L (4 D^2 + 2 D F) a token, and 4 L n D for each of n."""
    config, (whole, half) = BertConfig(), batches(8, 64, 600)
    dense = 2 * 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert operations(config, whole.lengths) == 8 * (64 * dense + 4 * 12 * 768 * 64**2)
    assert operations(config, half.lengths) == sum(n * dense + 4 * 12 * 768 * n**2 for n in half.lengths.tolist())


def test_ratio_is_the_fastest_peers_time_to_our_fastest() -> None:
    table = ratio_table([row(padded=0.2, unpadded=0.1, sdpa=0.4, o4=0.25)])
    assert "| 128x128 | ours: unpadded | optimum | 2.50x (2.50-2.50) | 1.0e-03 |" in table
    assert "| 128x128 | - | - | - | - |" in ratio_table([row(padded=0.2)])


@pytest.mark.parametrize(("seconds", "verdict"), [(2.0e-3, "met"), (2.1e-3, "missed")])
def test_the_aim_of_a_share(seconds: float, verdict: str) -> None:
    table = aims_table([row(padded=seconds, sdpa=1.0)], Peak(1e12, "data sheet"))
    assert f"{0.001 / seconds:.1%} (ours: padded) | {verdict} |" in table.splitlines()[2]


@pytest.mark.parametrize(("unpadded", "verdict"), [(0.1, "met"), (0.12, "missed")])
def test_the_aim_of_skipping_padding(unpadded: float, verdict: str) -> None:
    table = aims_table([row("128x128 half", 0.5, padded=0.175, unpadded=unpadded, sdpa=1.0)], Peak(1e12, "here"))
    assert table.splitlines()[3].endswith(f"| {verdict} |")
    assert f"{0.175 / unpadded:.2f}x" in table


def test_the_aim_to_be_ahead_everywhere() -> None:
    ahead, behind = row("8x16", padded=0.1, sdpa=0.2), row("8x64", padded=0.3, unpadded=0.25, sdpa=0.2)
    peak = Peak(1e12, "here")
    assert "1 of 1 shapes; least 2.00x at 8x16 | met |" in aims_table([ahead], peak)
    assert "1 of 2 shapes; least 0.80x at 8x64 | missed |" in aims_table([ahead, behind], peak)


def test_what_was_not_measured_is_not_met() -> None:
    lines = aims_table([row("8x16", precision="fp32", padded=0.1, sdpa=0.2)], Peak(1e12, "here")).splitlines()[2:]
    assert len(lines) == 3
    assert all(line.endswith("| - | not measured |") for line in lines)
    nothing = aims_table([row("8x16", padded=0.1)], Peak(1e12, "here")).splitlines()[4]
    assert nothing.endswith("not measured |"), "a shape without a peer says nothing of peers"


def test_what_load_would_take_is_held_against_the_fastest() -> None:
    """Few texts are captured; more than 1,024 places are unpadded where half are padding, else padded."""
    rows = [
        row("8x16", captured=0.1, padded=0.2, unpadded=0.3),
        row("8x16 half", 0.5, captured=0.3, padded=0.4, unpadded=0.2),
        row("32x16", captured=0.1, padded=0.2, unpadded=0.3),
        row("128x128", padded=0.1, unpadded=0.2),
        row("128x128 half", 0.5, padded=0.2, unpadded=0.1),
    ]
    lines = choices_table(rows).splitlines()[2:]
    assert lines == [
        f"| {CAPTURED} | 2 | 1 | 1.50x |",
        f"| {PADDED} | 2 | 1 | 2.00x |",
        f"| {UNPADDED} | 1 | 1 | 1.00x |",
    ]


def test_data_sheets_are_for_gpus_that_we_know() -> None:
    assert data_sheet(H100.name, "fp16") == Peak(989e12, "data sheet")
    assert data_sheet(H100.name, "fp32") is None
    assert data_sheet("NVIDIA H200", "fp16") == Peak(989e12, "data sheet")
    assert data_sheet("NVIDIA H100 PCIe", "fp16") is None
    assert data_sheet("NVIDIA T4", "fp16") is None


def test_a_bare_product_is_measured_by_its_fastest_run() -> None:
    waits = iter([0.0, 0.02, 0.005, 0.02, 0.02, 0.02, 0.02, 0.02])
    peak = measured(lambda: None, lambda: time.sleep(next(waits)), 100)
    assert 2 * 100**3 / 0.02 < peak.operations <= 2 * 100**3 / 0.005


# -- measuring, with engines that are numpy


def engine(name: str, ours: bool, offset: float, seconds: float = 0.0, most: int | None = None) -> Engine:
    """Gives zeros and `offset` on real tokens, 9 at padding, after so many seconds."""

    def prepare(inputs: Inputs) -> Prepared:
        mask = inputs["attention_mask"][..., None]

        def output() -> np.ndarray:
            return np.where(mask, np.float32(offset), np.float32(9)) * np.ones(4, np.float32)

        return Prepared(lambda: time.sleep(seconds), output)

    return Engine(name, ours, prepare, most)


def broken(inputs: Inputs) -> Prepared:
    raise MemoryError("out of memory\nand much more")


def judge(batch: Batch) -> Judge:
    """The eager model gives zeros."""
    real = batch.inputs["attention_mask"] > 0
    return lambda found: float(np.abs(found[real]).max())


def compared(batch: Batch, engines: list[Engine], wait: Callable[[], object] = lambda: None, **lost: str) -> Row:
    return compare(engines, judge(batch), batch, "fp16", 1e9, 0.0, wait, lost)


def test_engines_take_turns_and_one_that_fails_is_told() -> None:
    engines = [engine(PADDED, True, 0.05, 1e-3), engine("torch sdpa", False, 0.0, 3e-3), Engine("o4", False, broken)]
    waited: list[int] = []
    found = compared(half_filled(full(4, 16)), engines, lambda: waited.append(1))
    assert [one.name for one in found.timings] == [PADDED, "torch sdpa"]
    assert [one.difference for one in found.timings] == [pytest.approx(0.05), 0.0], "padding does not count"
    assert {len(one.seconds) for one in found.timings} == {5}
    assert len(waited) == 2 * 2 * (2 + 5) + 1, "before and after each measurement, and after the failure"
    assert found.failed == {"o4": "MemoryError: out of memory"}
    ours, peer = found.best(ours=True), found.best(ours=False)
    assert ours is not None
    assert peer is not None
    assert 1e-3 <= ours.median < peer.median
    assert "failed" in time_table([found], Peak(1e12, "here"))
    assert failures([found]) == ["* o4 in fp16 on 4x16 half: MemoryError: out of memory"]
    assert set(differences([found, found])) == {PADDED, "torch sdpa"}


@pytest.mark.parametrize("offset", [0.2, float("nan")])
def test_an_engine_with_wrong_outputs_is_not_timed(offset: float) -> None:
    found = compared(full(4, 16), [engine("fast", False, offset), engine(PADDED, True, 0.0)])
    assert [one.name for one in found.timings] == [PADDED]
    assert found.failed == {"fast": f"ValueError: outputs differ by {offset:.3g} from eager torch, and may by 0.1"}


def test_an_engine_takes_part_up_to_its_largest_batch() -> None:
    small, large = (compared(full(rows, 16), [engine(CAPTURED, True, 0.0, most=64)]) for rows in (4, 8))
    assert [one.name for one in small.timings] == [CAPTURED]
    assert large.timings == []
    assert large.failed == {}
    table = time_table([small, large], Peak(1e12, "here")).splitlines()
    assert table[3] == "| 8x16 | - |"


def test_a_gpu_that_is_lost_ends_the_run_and_names_the_engine() -> None:
    def wait() -> None:
        if broke:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def breaks(inputs: Inputs) -> Prepared:
        broke.append(1)
        raise RuntimeError("launch failed")

    broke: list[int] = []
    engines = [Engine("bad", False, breaks), engine(PADDED, True, 0.0)]
    with pytest.raises(GpuLostError, match="bad: RuntimeError: launch failed") as lost:
        compared(full(4, 16), engines, wait)
    broke.clear()
    again = compared(full(4, 16), engines, wait, **{lost.value.engine: lost.value.reason})
    assert [one.name for one in again.timings] == [PADDED]
    assert again.failed == {"bad": "RuntimeError: launch failed"}
