"""The page of the parity matrix: every figure lands in its place, and nothing that failed or did not run is hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="subjects are checkpoints that transformers writes")

from benchmarks.runtimes import __main__ as program
from benchmarks.runtimes.emulated import EmulatedRuntime
from benchmarks.runtimes.report import Result, render
from benchmarks.runtimes.subjects import HEADS, TRAINED, Subject
from bert_onnx.artifact import Artifact
from bert_onnx.errors import RuntimeUnavailableError, VerificationError
from bert_onnx.tasks import TASKS
from export.verification.runtime_cells import ABSENT, FAIL, PASS, Cell, Matrix
from runtimes.engines.ort.openvino import OnnxRuntimeOpenVino
from runtimes.machine.processor import Processor

pytestmark = pytest.mark.slow

CPU, OPENVINO, PLUGIN = "onnxruntime-cpu", "openvino", "onnxruntime-openvino"


def variant(name: str, precision: str = "fp32", isa: str | None = None) -> Any:
    return SimpleNamespace(name=name, target="portable", precision=precision, isa=isa)


def cell(name: str, runtime: str, precision: str = "fp32", verdict: str = PASS, **fields: Any) -> Cell:
    figures = {"max_abs_diff": 2.5e-6, "tolerance": 1e-5, "output": "logits", "case": "1x1", "cosine": 0.99999912}
    return Cell(name, runtime, precision, verdict, **((figures if verdict == PASS else {}) | fields))


def page(*results: Result, emulated: bool = False) -> list[str]:
    return render(results, emulated).splitlines()


def line(lines: list[str], start: str) -> list[str]:
    found = [text for text in lines if text.startswith(f"| {start}")]
    assert len(found) == 1, found
    return [part.strip() for part in found[0].strip("|").split("|")]


SAMPLE = Result(
    TRAINED[0],
    (variant("model"), variant("model_ort_cpu"), variant("model_quint8_avx2", "int8", "avx2")),
    Matrix(
        "x",
        "eager",
        (
            cell("model", CPU),
            cell("model", OPENVINO, max_abs_diff=3.5e-6),
            cell("model", OPENVINO, "bf16", max_abs_diff=0.012, tolerance=0.04),
            cell("model", PLUGIN, verdict=ABSENT, reason="no Intel"),
            cell("model_ort_cpu", CPU),
            cell("model_quint8_avx2", CPU, "int8", cosine=0.9981),
            cell("model_quint8_avx2", OPENVINO, "int8", verdict=ABSENT, reason="it is tired"),
        ),
    ),
)
HEAD = Result(
    Subject("head-fill-mask", "fill-mask"),
    (variant("model"), variant("model_web")),
    Matrix("y", "eager", (cell("model", CPU), cell("model_web", CPU, max_abs_diff=9e-6), cell("model", OPENVINO))),
)


def test_every_figure_is_in_its_place() -> None:
    lines = page(SAMPLE, HEAD)
    assert line(lines, "graph") == ["graph", "target", "precision", CPU, OPENVINO, f"{OPENVINO} bf16"]
    assert line(lines, "`model`") == ["`model`", "portable", "fp32", "2.5e-06", "3.5e-06", "1.2e-02"]
    assert line(lines, "`model_ort_cpu`")[3:] == ["2.5e-06", "-", "-"]
    assert line(lines, "`model_quint8_avx2`")[2:] == ["int8 avx2", "cos 0.998100", "(a)", "-"]
    assert "* (a) it is tired." in lines
    assert line(lines, "fill-mask") == ["fill-mask", "2", "9.0e-06 (2)", "2.5e-06 (1)", "-", "90%"]
    assert f"* {PLUGIN}: no Intel." in lines
    assert "**8 of 8 pairs of a graph and a runtime pass.**" in lines


def test_a_failure_is_seen_and_told() -> None:
    bad = cell("model_web", OPENVINO, verdict=FAIL, max_abs_diff=0.5, output="logits", case="3x17")
    matrix = replace(HEAD.matrix, cells=(*HEAD.matrix.cells, bad))
    lines = page(SAMPLE, replace(HEAD, matrix=matrix))
    assert line(lines, "fill-mask")[3] == "**fail** (a)"
    assert "* (a) `model_web`: logits differs by 0.5 in case '3x17'." in lines
    assert "**8 of 9 pairs of a graph and a runtime pass.**" in lines
    with pytest.raises(VerificationError, match="model_web on openvino"):
        matrix.raise_if_failed()


def test_emulation_is_told() -> None:
    assert any("under QEMU" in text for text in page(SAMPLE, emulated=True))
    assert not any("QEMU" in text for text in page(SAMPLE))


def test_every_head_and_every_kind_of_file_is_a_subject() -> None:
    assert [subject.task for subject in HEADS] == list(TASKS)
    assert {isa for subject in TRAINED if "int8" in subject.precision for isa in subject.isas} == {
        "avx2",
        "avx512_vnni",
        "arm64",
    }
    assert len({subject.name for subject in (*TRAINED, *HEADS)}) == len(TRAINED) + len(HEADS)


def test_the_plugin_is_emulated_only_where_it_has_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[str, ...]:
        raise RuntimeUnavailableError("no Intel.")

    monkeypatch.setattr("runtimes.engines.ort.openvino.computes_in", refuse)
    monkeypatch.setattr("runtimes.engines.table.RuntimeRow.missing_modules", lambda row: ())
    rows, emulated = program.runtime_rows()
    assert emulated
    assert {row.name for row in rows if row.load_class() is EmulatedRuntime} == {PLUGIN}
    monkeypatch.setattr("runtimes.engines.ort.openvino.computes_in", lambda: ("fp32",))
    rows, emulated = program.runtime_rows()
    assert not emulated
    assert next(row for row in rows if row.name == PLUGIN).load_class() is OnnxRuntimeOpenVino


def test_int8_files_that_this_processor_would_saturate_are_not_made_and_told() -> None:
    old, new = (Processor("x", "x86_64", frozenset(features)) for features in ({"avx2"}, {"avx2", "avx512_vnni"}))
    left_out = [subject.isas[0] for subject in (*TRAINED, *HEADS) if subject.saturates(old)]
    assert left_out == ["avx512_vnni", "arm64"]
    assert not any(subject.saturates(new) for subject in TRAINED)
    lines = render([SAMPLE, HEAD], False, left_out).splitlines()
    assert "* int8 for avx512_vnni and arm64: this processor has no VNNI, and its sums would saturate." in lines


@pytest.mark.slow
def test_a_head_from_checkpoint_to_page(tmp_path: Path) -> None:
    """Exports, runs on what is here, is kept, and is read again."""
    rows = [row for row in program.runtime_rows()[0] if row.name in (CPU, OPENVINO, "tract")]
    subject = Subject("head-question-answering", "question-answering", ("portable", "openvino-unpadded"))
    result = program.measure(subject, tmp_path, rows)
    assert [variant.name for variant in result.variants] == ["model", "model_openvino_unpadded"]
    found = {(cell.variant, cell.runtime): cell for cell in result.matrix.cells if cell.precision == "fp32"}
    assert {key for key, value in found.items() if value.verdict == PASS} == {
        ("model", CPU), ("model", OPENVINO), ("model", "tract"),
        ("model_openvino_unpadded", CPU), ("model_openvino_unpadded", OPENVINO),
    }  # fmt: skip
    assert all(0 < (cell.max_abs_diff or 0) < 1e-4 for cell in found.values())
    made = Artifact.open(tmp_path / subject.name / "artifact").manifest_sha256
    again = program.measure(subject, tmp_path, rows)
    assert again.matrix == result.matrix
    assert Artifact.open(tmp_path / subject.name / "artifact").manifest_sha256 == made
    assert np.isfinite([cell.cosine or 1.0 for cell in again.matrix.cells]).all()
