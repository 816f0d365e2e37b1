"""The table of compatibility: a kind that is the same says so, and what differs or fails is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("sentence_transformers", reason="the bench extra has it")
pytest.importorskip("optimum.onnxruntime", reason="the bench extra has it")

from benchmarks.compatibility.__main__ import render
from benchmarks.compatibility.clients.measure import Cell, Line
from benchmarks.compatibility.kinds import KINDS, Kind
from benchmarks.compatibility.measure import Found, compare, difference, is_same, measure
from bert_onnx.checkpoint.finding import find_checkpoint

pytestmark = pytest.mark.slow


def kind_of(name: str) -> Kind:
    (found,) = [kind for kind in KINDS if kind.name == name]
    return found


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return measure(kind_of("Dense and Normalize"), tmp_path_factory.mktemp("projected"))


def test_names_are_of_one_kind_each() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_kind_that_is_the_same_everywhere(projected: Found) -> None:
    assert projected.holds
    assert all(map(is_same, (projected.library, projected.unpadded, projected.reopened, projected.optimum)))
    assert projected.int8.startswith(("passes, ", "below: "))
    assert "1 of 1 kinds are exported and the same everywhere." in render([projected])


def test_another_result_shows(projected: Found, tmp_path: Path) -> None:
    library = projected.kind.library
    wrong = replace(library, ask=lambda folder: library.ask(folder) + np.float32(0.25))
    found = measure(replace(projected.kind, library=wrong), tmp_path)
    assert not found.holds
    assert found.library == pytest.approx(0.25, abs=1e-5)
    assert found.optimum == pytest.approx(0.0, abs=1e-5)
    assert "0 of 1 kinds" in render([found])


def test_a_refusal_is_a_note(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"not weights")

    found = measure(replace(kind_of("feature-extraction"), change=spoil), tmp_path)
    assert found.refused is not None
    page = render([found])
    assert "| no (1) |" in page
    assert f"1. {found.refused}" in page


def test_what_a_tool_raises_is_its_finding() -> None:
    def fail() -> np.ndarray:
        raise KeyError("logits")

    assert compare(np.zeros(2), fail) == "KeyError: 'logits'"
    assert difference(np.zeros(2), np.zeros(3)) == "shape (3,), not (2,)"


@pytest.mark.parametrize("name", ["weights of torch.compile", "files of transformers 5", "24 layers"])
def test_checkpoints_are_of_their_kind(name: str, tmp_path: Path) -> None:
    kind = kind_of(name)
    kind.make(tmp_path / "one")
    if kind.change is not None:
        kind.change(tmp_path / "one")
    assert find_checkpoint(str(tmp_path / "one")).config.num_hidden_layers == (24 if name == "24 layers" else 2)


def test_the_table_of_clients() -> None:
    cells = {
        ("portable", "fp32"): Cell(difference=2e-7),
        ("portable", "int8"): Cell(difference=0.0),
        ("web", "fp32"): Cell(refused="KeyError: 'logits'"),
    }
    page = render([], [Line("a client", "fill-mask", cells)])
    assert "| a client | fill-mask | 2.0e-07 / same | no (1) / - | - / - |" in page
    assert "\n1. KeyError: 'logits'\n" in page
