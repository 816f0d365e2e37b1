"""Padded and unpadded graphs for CUDA, batch by batch, on a fake GPU: the second graph's vectors are twice as long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_cuda import FakeGpu, install
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, publish_toy, save_graph, table

from bert_onnx.artifact import Artifact
from bert_onnx.errors import ArtifactError, InputError, UsageError
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile
from runtimes.engines.ort import cuda
from runtimes.engines.ort.cuda_by_shape import FULL, GRAPHS, SMALL, CudaByShape, skips_padding
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.table import find_runtime
from runtimes.selection.open import cuda_options, open_choice
from runtimes.selection.select import RuntimeChoice

PADDED, UNPADDED = 1.0, 2.0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return install(monkeypatch)


@pytest.fixture
def files(tmp_path: Path) -> tuple[GraphFile, GraphFile]:
    paths = (save_graph(tmp_path / "padded.onnx"), save_graph(tmp_path / "unpadded.onnx", UNPADDED * table()))
    first, second = (GraphFile(path, INPUTS, OUTPUTS, CONFIG) for path in paths)
    return first, second


@pytest.fixture
def runtime(gpu: FakeGpu, files: tuple[GraphFile, GraphFile]) -> Iterator[CudaByShape]:
    opened = CudaByShape.open(*files, RuntimeOptions())
    yield opened
    opened.close()


def batch(rows: int, length: int, real: int) -> dict[str, np.ndarray]:
    """Rows of `length`, the first full, the others with `real` tokens."""
    mask = np.zeros((rows, length), np.int64)
    mask[:, :real] = 1
    mask[0] = 1
    return {"input_ids": 2 * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def which(runtime: CudaByShape, inputs: dict[str, np.ndarray]) -> float:
    """The graph that ran, by the length of its vectors."""
    return float(runtime.run(inputs, ["sentence_embedding"])["sentence_embedding"][0, 0] / table()[2, 0])


@pytest.mark.parametrize(
    ("rows", "length", "real", "graph", "captured"),
    [
        (1, 16, 16, PADDED, True),
        (8, 16, 3, PADDED, True),
        (60, 16, 3, PADDED, False),  # small, and of no shape that is captured
        (100, 16, 3, UNPADDED, False),
        (100, 16, 14, UNPADDED, False),
        (100, 16, 15, PADDED, False),  # next to nothing to skip
        (100, 16, 16, PADDED, False),
    ],
)
def test_the_graph_that_suits_a_batch(
    runtime: CudaByShape, gpu: FakeGpu, rows: int, length: int, real: int, graph: float, captured: bool
) -> None:
    assert which(runtime, batch(rows, length, real)) == pytest.approx(graph)
    assert (gpu.graph_ids[-1:] not in ([], ["-1"])) is captured


def test_the_bounds() -> None:
    small = np.zeros((1, SMALL), np.int64)
    assert not skips_padding(small)
    large = np.zeros((2, SMALL), np.int64)
    large.reshape(-1)[: int(FULL * large.size)] = 1
    assert skips_padding(large)
    large.reshape(-1)[: int(FULL * large.size) + 1] = 1
    assert not skips_padding(large)
    assert skips_padding(np.zeros((2, 4, SMALL), np.int64))  # of choices
    assert GRAPHS.batches[-1] * GRAPHS.lengths[-1] == SMALL


def test_only_the_padded_graph_is_captured(runtime: CudaByShape, gpu: FakeGpu) -> None:
    assert [providers[0][1]["enable_cuda_graph"] for providers in gpu.sessions] == ["1", "0"]


def test_without_cuda_graphs_where_the_model_does_not_allow_them(
    gpu: FakeGpu, files: tuple[GraphFile, GraphFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(inputs: object) -> None:
        raise UsageError("CUDA graphs are for models whose inputs are [batch_size, sequence_length].")

    monkeypatch.setattr(cuda, "check_graph_ports", refuse)
    runtime = CudaByShape.open(*files, RuntimeOptions())
    assert which(runtime, batch(1, 16, 16)) == pytest.approx(PADDED)
    assert [providers[0][1]["enable_cuda_graph"] for providers in gpu.sessions] == ["0", "0"]


def test_shapes_are_made_few_for_the_padded_graph_alone(gpu: FakeGpu, files: tuple[GraphFile, GraphFile]) -> None:
    runtime = CudaByShape.open(*files, RuntimeOptions(cuda=CudaOptions(pad_shapes=True)))
    assert which(runtime, batch(57, 13, 3)) == pytest.approx(PADDED)  # of no shape that is captured
    assert which(runtime, batch(101, 13, 3)) == pytest.approx(UNPADDED)
    assert which(runtime, batch(101, 13, 13)) == pytest.approx(PADDED)
    assert gpu.shapes == [(64, 16), (101, 13), (112, 16)]


def test_it_says_when_each_runs(runtime: CudaByShape) -> None:
    described = runtime.describe()
    assert (described.name, described.model) == ("onnxruntime-cuda", "padded.onnx")
    assert "unpadded.onnx for batches of more than 1024 places of which 10% or more are padding" in described.notes


def test_wrong_inputs_are_refused_by_either(runtime: CudaByShape) -> None:
    wrong = batch(100, 16, 3)
    wrong["attention_mask"][5] = 0
    with pytest.raises(InputError, match="needs at least one real token"):
        runtime.run(wrong)
    del wrong["attention_mask"]
    with pytest.raises(InputError, match="attention_mask"):
        runtime.run(wrong)
    with pytest.raises(UsageError, match="no output"):
        runtime.run(batch(100, 16, 3), ["logits"])


def test_both_are_closed(runtime: CudaByShape) -> None:
    runtime.close()
    for rows in (1, 100):
        with pytest.raises(UsageError, match="closed"):
            runtime.run(batch(rows, 16, 3))


def test_where_the_second_does_not_open_the_first_is_closed(
    gpu: FakeGpu, files: tuple[GraphFile, GraphFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(cuda.OnnxRuntimeCuda, "close", lambda self: closed.append(self.describe().model))
    files[1].path.unlink()
    with pytest.raises(ArtifactError, match=r"unpadded\.onnx is missing"):
        CudaByShape.open(*files, RuntimeOptions())
    assert closed == ["padded.onnx"]


def test_a_choice_of_two_variants_opens_both(gpu: FakeGpu, tmp_path: Path) -> None:
    artifact = Artifact.open(publish_toy(tmp_path / "artifact"))
    first, second = artifact.manifest.variants
    row = find_runtime("onnxruntime-cuda")
    runtime = open_choice(artifact, RuntimeChoice(row, first, "fp32", None, "asked", second))
    assert runtime.describe().model == "model.onnx"
    assert any(note.startswith("model_double.onnx for batches") for note in runtime.describe().notes)
    runtime.close()


@pytest.mark.parametrize(
    ("target", "precision", "pads"),
    [("ort-cuda", "fp16", True), ("ort-cuda", "fp32", False), ("ort-cuda-unpadded", "fp16", False)],
)
def test_files_that_cudnn_plans_for_get_few_shapes(target: str, precision: str, pads: bool, tmp_path: Path) -> None:
    first, _ = Artifact.open(publish_toy(tmp_path / "artifact")).manifest.variants
    variant = replace(first, target=target, precision=precision)
    for row, padded in (("onnxruntime-cuda", pads), ("onnxruntime-cpu", False)):
        options = cuda_options(RuntimeChoice(find_runtime(row), variant, "fp32", None, "asked"))
        assert (options is not None and options.pad_shapes) is padded
