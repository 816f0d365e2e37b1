"""Every head in Python's libraries, on the folder as published: each file by its name, fp32 and int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_tools import LARGEST_DIFFERENCE, LEAST_COSINE

pytest.importorskip("sentence_transformers")
pytest.importorskip("optimum.onnxruntime")

import bert_onnx
from benchmarks.compatibility import checkpoints
from benchmarks.compatibility.clients.heads import HEADS, TARGETS, Head, Published, publish
from benchmarks.compatibility.clients.measure import Line, measure_tensors, measure_texts
from benchmarks.compatibility.clients.tensors import open_optimum, open_reference
from benchmarks.compatibility.clients.texts import TEXT_CLIENTS, TextClient
from benchmarks.compatibility.clients.vectors import Case, differences, read_cases
from export.hosts.package import package

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]

#: What optimum's classes do not return of a head, which has it all the same.
NOT_OF_OPTIMUM = {"pooler_output", "sentence_embedding", "sparse_embedding"}
FILES = [(target, precision) for target in TARGETS for precision in ("fp32", "int8")]


@pytest.fixture(scope="module", params=HEADS, ids=[head.task for head in HEADS])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(request.param, tmp_path_factory.mktemp(request.param.task))


@pytest.fixture(scope="module")
def cases(published: Published) -> list[Case]:
    return read_cases(published)


@pytest.fixture(scope="module")
def lines(published: Published, cases: list[Case]) -> dict[str, Line]:
    """What every client that takes arrays gave, by its name."""
    return {line.client.partition(",")[0]: line for line in measure_tensors(published, cases)}


@pytest.fixture
def keep(measured: Callable[..., None]) -> Callable[[Line], None]:
    """The table at the end gets a line a file."""

    def add(line: Line) -> None:
        for (target, precision), cell in line.cells.items():
            row: dict[str, Any] = {"variant": f"{line.task}, {target}", "precision": precision, "texts": 7}
            measured(line.client.partition(",")[0], [{**row, "difference": cell.difference, "cosine": cell.cosine}])

    return add


def _assert_same(line: Line, files: list[tuple[str, str]]) -> None:
    for file in files:
        cell = line.cells[file]
        assert cell.refused is None, (line.client, file)
        if file[1] == "fp32":
            assert cell.difference <= LARGEST_DIFFERENCE, (line.client, file, cell)
        else:
            assert cell.cosine >= LEAST_COSINE, (line.client, file, cell)


def test_vectors_json_holds_what_transformers_returns(cases: list[Case]) -> None:
    for case in cases:
        for name, exact in case.transformers.items():
            values = dict(zip(exact.places.tolist(), exact.values.tolist(), strict=True))
            written = case.eager[name]
            np.testing.assert_allclose([values[place] for place in written.places], written.values, 2e-5, 2e-6)


def test_clients_that_take_arrays(published: Published, lines: dict[str, Line], keep: Callable[[Line], None]) -> None:
    ports = {port.name for port in published.manifest.outputs}
    for name in ("onnxruntime", "OpenVINO", "optimum"):
        keep(lines[name])
        _assert_same(lines[name], FILES)
        for cell in lines[name].cells.values():
            assert set(cell.outputs) == (_of_optimum(published, ports) if name == "optimum" else ports)


def _of_optimum(published: Published, ports: set[str]) -> set[str]:
    """A class of a task returns that task's outputs; keys and values are in an object of its own."""
    if published.head.ort_class is None:
        return ports
    return {port for port in ports if port not in NOT_OF_OPTIMUM and not port.startswith("present.")}


def test_onnx_reference_runs_what_is_standard(lines: dict[str, Line]) -> None:
    """Not: ONNX Runtime's own operators, and DequantizeLinear of an opset below 19, which it has left out."""
    for (target, precision), cell in lines["onnx.reference"].cells.items():
        if cell.refused is None:
            assert cell.difference <= LARGEST_DIFFERENCE
        else:
            assert (target, precision) == ("ort-cpu", "fp32") or precision == "int8"
            assert "com.microsoft" in cell.refused or "DequantizeLinear" in cell.refused


def test_clients_that_take_texts(published: Published, keep: Callable[[Line], None]) -> None:
    lines = measure_texts(published)
    if not lines:
        pytest.skip("no library takes texts for this head")
    for line in lines:
        keep(line)
        padded = published.head.task == "late-interaction"  # queries read vectors where the mask is 0
        files = [file for file in FILES if not (padded and file[0].endswith("-unpadded"))]
        assert sorted(line.cells) == sorted(files)
        _assert_same(line, files)


def test_a_spoiled_file_shows(published: Published, cases: list[Case]) -> None:
    """The comparison is one: outputs that are changed a little are told from those that are right."""
    run = open_optimum(published.folder, "onnx/model.onnx", published.head)
    (case, *_) = cases
    found = {name: array + np.float32(1e-3) for name, array in run(case.inputs).items()}
    assert max(difference for _, difference, _ in differences(case, found, "model")) > 5 * LARGEST_DIFFERENCE


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A decoder with two types of tokens."""
    folder = tmp_path_factory.mktemp("typed")
    checkpoints.save(folder / "checkpoint", "BertLMHeadModel", is_decoder=True)
    bert_onnx.export(folder / "checkpoint", folder / "artifact", offline=True)
    head = Head("text-generation-with-past", checkpoints.save, "BertLMHeadModel", "ORTModelForCausalLM")
    return Published(head, folder / "checkpoint", folder / "artifact")


def test_a_decoder_with_two_types_needs_the_class_for_custom_tasks(typed: Published) -> None:
    (case, *_) = read_cases(typed)
    with pytest.raises(ValueError, match="token_type_ids is required"):
        open_optimum(typed.folder, "onnx/model.onnx", typed.head)(case.inputs)
    found = open_optimum(typed.folder, "onnx/model.onnx", replace(typed.head, ort_class=None))(case.inputs)
    assert [one for _, one, _ in differences(case, found, "model")] == pytest.approx([0] * 5, abs=LARGEST_DIFFERENCE)


def test_onnx_reference_runs_int8_of_opset_19(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "checkpoint")
    texts = [checkpoints.write_texts(tmp_path / "checkpoint", seed) for seed in (1, 2)]
    bert_onnx.export(
        tmp_path / "checkpoint", tmp_path / "artifact", opset=19, precision="int8", offline=True,
        calibration=texts[0], evaluation=texts[1], allow_degraded=True,
    )  # fmt: skip
    head = Head("feature-extraction", checkpoints.save, None, None)
    published = Published(head, tmp_path / "checkpoint", tmp_path / "artifact")
    (variant,) = [one for one in published.manifest.variants if one.precision == "int8"]
    run = open_reference(published.folder, variant.file, head)
    for case in read_cases(published):
        assert min(cosine for _, _, cosine in differences(case, run(case.inputs), variant.name)) >= LEAST_COSINE


@pytest.mark.parametrize("client", [one for one in TEXT_CLIENTS if one.name == "sentence-transformers"])
def test_the_openvino_backend_of_sentence_transformers(client: TextClient, tmp_path: Path) -> None:
    """On what `bert-onnx package --for openvino` makes: it reads IR alone."""
    pytest.importorskip("optimum.intel.openvino")
    (head,) = [head for head in HEADS if head.task == client.task]
    head.make(tmp_path / "checkpoint")
    bert_onnx.export(tmp_path / "checkpoint", tmp_path / "artifact", task=head.task, offline=True)
    packed = package(tmp_path / "artifact", "openvino", tmp_path / "ir").folder
    exact = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    found = client.library.ask(packed, backend="openvino", model_kwargs=exact)
    np.testing.assert_allclose(found, client.library.ask(tmp_path / "checkpoint"), atol=LARGEST_DIFFERENCE)
