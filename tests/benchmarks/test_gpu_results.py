"""What was found on a GPU is kept: parts that are done are not run again, and the page is made of the file alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import parts
from benchmarks.gpu.gpu_tests import run_tests
from benchmarks.gpu.machine import RehearsalMachine
from benchmarks.gpu.measure import GpuLostError
from benchmarks.gpu.page import make_page
from benchmarks.gpu.parts import KERNELS, TESTS, Bench, OutOfTimeError, Run, is_complete, run_part
from benchmarks.gpu.results import (
    Device,
    Outcome,
    Peak,
    Results,
    Row,
    Timing,
    open_results,
    read_results,
    save_results,
)
from bert_onnx.errors import UsageError

H100 = Device("NVIDIA H100 80GB HBM3", "580.0", 81559, "9.0", "a processor", ["torch 2.11.0"])
CLOCKS = {
    "clocks.sm": 1755.0,
    "clocks.mem": 2619.0,
    "clocks.max.sm": 1980.0,
    "power.draw": 650.0,
    "temperature.gpu": 60,
}


def row(batch: str, tokens: int, ours: float, peer: float) -> Row:
    rows, length = (int(number) for number in batch.split()[0].split("x"))
    timings = [
        Timing("ours: padded", True, [ours] * 5, 2e-3),
        Timing("ours: unpadded", True, [ours / 2] * 5, 3e-3),
        Timing("torch sdpa", False, [peer] * 5, 1e-3),
    ]
    return Row("fp16", batch, rows, length, tokens, 5e12, timings, {"optimum": "MemoryError: none"}, CLOCKS)


@pytest.fixture
def results() -> Results:
    return Results(
        H100,
        tests=[
            Outcome("test_cuda::test_one", "passed"),
            Outcome("test_tensorrt::test_it", "skipped", "no TensorRT"),
        ],
        measured={"fp16": Peak(7.9e14, "bare 8192x8192 product")},
        sheets={"fp16": Peak(9.89e14, "data sheet")},
        refused={"fp16": {"torch FlashAttention 2": "ImportError: no flash_attn"}},
        rows=[row("128x128", 128 * 128, 8e-3, 9e-3), row("128x128 half", 64 * 128, 8e-3, 9e-3)],
        kernels={"fp16 128x128": {"ours: padded": [("void gemm<a | b>", 0.75)], "torch sdpa": []}},
    )


# -- the file


def test_what_is_saved_is_read_again(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save_results(results, path)
    assert read_results(path) == open_results(path, H100) == results
    assert list(tmp_path.iterdir()) == [path]
    assert open_results(tmp_path / "none.json", H100) == Results(H100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "NVIDIA H200"}, "NVIDIA H100 80GB HBM3 there, NVIDIA H200 here"),
        ({"versions": ["torch 2.13.0"]}, r"torch 2\.11\.0 there, torch 2\.13\.0 here"),
        ({"rehearsal": True}, "a measurement there, a rehearsal here"),
    ],
)
def test_results_of_another_machine_are_not_added_to(
    results: Results, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    save_results(results, tmp_path / "results.json")
    with pytest.raises(UsageError, match=rf"is of another machine \({said}\); move it away"):
        open_results(tmp_path / "results.json", msgspec.structs.replace(H100, **change))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"device": 3}', b'{"schema": 1, "rows": [{"batch": "x"}]}'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"results\.json does not hold results"):
        open_results(tmp_path / "results.json", H100)
    assert (tmp_path / "results.json").read_bytes() == content


def test_a_file_of_another_layout_is_refused(results: Results, tmp_path: Path) -> None:
    results.schema = 9
    save_results(results, tmp_path / "results.json")
    with pytest.raises(UsageError, match="has layout 9, and this program writes 1"):
        open_results(tmp_path / "results.json", H100)


# -- the page


def test_the_page_holds_what_was_found(results: Results) -> None:
    page = make_page(results)
    for words in (
        "NVIDIA H100 80GB HBM3, 81559 MiB, compute capability 9.0,",
        "1755 to 1755 MHz, of at most 1980",
        "1 passed, 0 failed, 1 skipped",
        "* test_tensorrt::test_it skipped: no TensorRT",
        "989 TFLOP/s (data sheet; a bare product in this run reached 790)",
        "| at least 50% of the peak (data sheet) at 128x128, no padding | 126.4% (ours: unpadded) | met |",
        "| unpadded at least 1.7x as fast as our padded graph at 128x128, half filled | 2.00x (2.00-2.00) | met |",
        "2 of 2 shapes; least 2.25x at 128x128 | met |",
        "| ours: padded | 75% `void gemm<a / b>` |",
        "| torch sdpa | none was seen |",
        "* torch FlashAttention 2 in fp16: ImportError: no flash_attn",
        "* optimum in fp16 on 128x128: MemoryError: none",
    ):
        assert words in page
    assert "rehearsal" not in page
    for line in page.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_the_page_of_a_rehearsal_says_that_it_is_one(results: Results) -> None:
    results.device = msgspec.structs.replace(H100, rehearsal=True)
    assert "**A rehearsal on a CPU with a tiny model" in make_page(results)


def test_a_page_can_be_made_of_nothing_but_tests() -> None:
    assert "0 passed, 1 failed" in make_page(Results(H100, tests=[Outcome("test_cuda::test_one", "failed", "no")]))


# -- parts


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def run(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """On a CPU, with the peers that take no time to make."""
    monkeypatch.setattr(parts, "peer_graphs", lambda *arguments: ({}, {"optimum": "ImportError: none"}))
    monkeypatch.setattr("benchmarks.gpu.measure._SHORTEST_SECONDS", 1e-5)
    device = msgspec.structs.replace(H100, rehearsal=True)
    deadline = time.monotonic() + 1000
    return Run(RehearsalMachine, Results(device), tmp_path / "results.json", shared, 0.0, deadline, rehearsal=True)


BENCH = Bench("fp32", ((2, 8), (1, 8)))


def test_what_is_done_is_not_done_again(run: Run) -> None:
    assert not is_complete(run.results, "bench-8", BENCH)
    run_part(run, "bench-8", BENCH, {})
    assert is_complete(run.results, "bench-8", BENCH)
    assert [found.batch for found in run.results.rows] == ["2x8", "2x8 half", "1x8"]
    assert {one.name for one in run.results.rows[0].timings} >= {"ours: padded", "ours: unpadded", "torch sdpa"}
    assert max(one.difference for found in run.results.rows for one in found.timings) < 1e-5
    assert run.results.refused["fp32"]["optimum"] == "ImportError: none"
    saved = read_results(run.path)
    assert saved == run.results

    def machine() -> RehearsalMachine:
        raise AssertionError("nothing is left to do")

    run_part(replace(run, machine=machine, results=saved), "bench-8", BENCH, {})
    wider = Bench("fp32", (*BENCH.shapes, (1, 4)))
    assert not is_complete(saved, "bench-8", wider)
    run_part(replace(run, results=saved), "bench-8", wider, {})
    assert [found.batch for found in saved.rows] == ["2x8", "2x8 half", "1x8", "1x4"]
    listed = Bench("fp32", ((1, 8),))
    run_part(replace(run, results=saved), KERNELS, listed, {})
    assert is_complete(saved, KERNELS, listed)
    assert any("addmm" in name for name, _ in saved.kernels["fp32 1x8"]["torch sdpa"])


def test_a_part_begins_no_batch_after_its_time(run: Run) -> None:
    with pytest.raises(OutOfTimeError):
        run_part(replace(run, deadline=time.monotonic() - 1), "bench-8", BENCH, {})
    assert run.results.rows == []


def test_an_engine_that_takes_the_gpu_with_it_is_left_out_the_next_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> Row:
        raise GpuLostError("torch sdpa", "RuntimeError: illegal memory access")

    whole = parts.compare
    monkeypatch.setattr(parts, "compare", fail)
    with pytest.raises(GpuLostError):
        run_part(run, "bench-8", BENCH, {})
    saved = read_results(run.path)
    assert saved.lost == {"fp32 2x8": {"torch sdpa": "RuntimeError: illegal memory access"}}
    monkeypatch.setattr(parts, "compare", whole)
    run_part(replace(run, results=saved), "bench-8", Bench("fp32", ((2, 8),)), {})
    first, second = saved.rows
    assert first.failed == saved.lost["fp32 2x8"]
    assert second.failed == {}


# -- tests


@pytest.fixture
def report(tmp_path: Path) -> Callable[[str], list[Outcome]]:
    def make(source: str) -> list[Outcome]:
        file = tmp_path / "test_sample.py"
        file.write_text(f"import pytest\n{source}")
        return run_tests(tmp_path, 60, [str(file)], mark="not slow")

    return make


def test_what_became_of_each_test_is_read(report: Callable[[str], list[Outcome]]) -> None:
    found = report(
        "def test_right():\n    pass\n"
        "def test_wrong():\n    assert 1 == 2\n"
        "@pytest.mark.skip(reason='no TensorRT')\ndef test_absent():\n    pass\n"
    )
    assert [(one.name, one.outcome) for one in found] == [
        ("test_sample::test_right", "passed"),
        ("test_sample::test_wrong", "failed"),
        ("test_sample::test_absent", "skipped"),
    ]
    assert "assert 1 == 2" in found[1].reason
    assert found[2].reason == "no TensorRT"


def test_tests_that_failed_are_run_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter(["failed", "passed"])
    monkeypatch.setattr(parts, "run_tests", lambda *arguments: [Outcome("test_cuda::test_one", next(outcomes))])
    for complete in (False, True, True):
        run_part(run, TESTS, None, {})
        assert is_complete(run.results, TESTS, None) is complete


# -- the command


def test_the_command_names_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--device", "cpu", "--part", "bench-17", "--work", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "benchmarks.gpu: there is no part bench-17; choose all, bench-16, kernels.\n"


def test_the_command_makes_the_page_of_a_file(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_results(results, tmp_path / "results.json")
    assert command.main(["--page", "--work", str(tmp_path), "--docs", str(tmp_path)]) == 0
    assert (tmp_path / "benchmarks-gpu.md").read_text(encoding="utf-8") == make_page(results)
    assert "2 batches, 2 tests" in capsys.readouterr().out
