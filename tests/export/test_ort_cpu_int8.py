"""int8 for ONNX Runtime: attention is one operator, every integer product another with its bias, the outputs stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from export_samples import save_checkpoint, tiny_config, write_texts

from bert_onnx.artifact import Artifact, Variant
from bert_onnx.errors import UsageError
from export.pipeline import export
from export.plan import check_precision
from export.request import ExportRequest, PrecisionRequest
from export.targets import TARGETS
from runtimes import load

pytestmark = pytest.mark.slow

LAYERS = tiny_config().num_hidden_layers
TARGETS_OF_INTEREST = ("ort-cpu", "ort-cpu-unpadded")
PRODUCTS = 6  # of a layer: query, key, value, attention output, FFN1, FFN2


@pytest.fixture(scope="module", params=["static", "dynamic"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp(f"ort-cpu-{request.param}")
    checkpoint = save_checkpoint(folder / "checkpoint", "sentence-similarity", initializer_range=0.1)
    precision = PrecisionRequest(
        precisions=("fp32", "int8"),
        method=request.param,
        isas=("avx2",),
        calibration=write_texts(folder / "calibration.txt", 200, 1),
        evaluation=write_texts(folder / "eval.txt", 60, 2),
        allow_degraded=True,
    )
    wanted = ExportRequest(
        str(checkpoint), "sentence-similarity", str(folder / "out"), targets=TARGETS_OF_INTEREST, precision=precision
    )
    return export(wanted).artifact


@pytest.fixture(params=TARGETS_OF_INTEREST)
def int8(artifact: Artifact, request: pytest.FixtureRequest) -> Variant:
    (variant,) = [one for one in artifact.manifest.variants if (one.precision, one.target) == ("int8", request.param)]
    return variant


def test_every_product_is_fused_with_its_bias(artifact: Artifact, int8: Variant) -> None:
    integers = LAYERS * PRODUCTS - len(int8.excluded_nodes)
    assert integers > LAYERS * PRODUCTS / 2
    assert int8.operators["com.microsoft.MatMulIntegerToFloat"] == integers
    passes = {record.name: record.count for record in int8.passes}
    assert passes["fuse_integer_products"] == integers
    graph = onnx.load(artifact.folder / int8.file, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if any("MatMulIntegerToFloat" in name for name in node.input):
            assert not (node.op_type in ("Add", "Sum") and constants & set(node.input)), node.name


@pytest.mark.parametrize("int8", ["ort-cpu"], indirect=True)
def test_attention_is_fused(int8: Variant) -> None:
    assert int8.operators["com.microsoft.MultiHeadAttention"] == int8.fused["fused_attention"] == LAYERS
    assert "com.microsoft.Attention" not in int8.operators
    assert {record.name: record.count for record in int8.passes}["lower_mha_biases_apart"] == LAYERS


def test_weights_lie_beside_the_graph(artifact: Artifact, int8: Variant) -> None:
    assert int8.data_file is not None
    assert (artifact.folder / int8.data_file).stat().st_size > 0


def test_the_outputs_are_those_of_standard_operators(artifact: Artifact, int8: Variant) -> None:
    texts = ["the cat sat on the mat", "a dog ran", "the dog sat on a cat . a cat ran on the mat"]
    float32, fused = (load(artifact.folder, variant).embed(texts) for variant in ("model", int8.name))
    assert (np.einsum("nd,nd->n", float32, fused) > 0.98).all()
    alone = np.concatenate([load(artifact.folder, int8.name).embed([text]) for text in texts])
    np.testing.assert_allclose(alone, fused, atol=1e-5)


def test_cuda_still_refuses_int8() -> None:
    check_precision("int8", TARGETS["ort-cpu"])
    with pytest.raises(UsageError, match=r"int8 does not run on the target ort-cuda.*ort-cpu"):
        check_precision("int8", TARGETS["ort-cuda"])
