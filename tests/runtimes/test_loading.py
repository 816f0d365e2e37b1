"""From an artifact folder to answers: what is checked on the way, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from toy_artifacts import CONFIG, VOCABULARY, publish_toy, table

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import ArtifactError, InputError, UsageError
from bert_onnx.tasks import TASKS
from runtimes.loading import PIPELINES
from runtimes.run_once import RunOptions, predict
from runtimes.selection.request import RuntimeRequest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def expected(text: str, factor: float = 1.0) -> np.ndarray:
    ids = [VOCABULARY.index(token) for token in ["[CLS]", *text.split(), "[SEP]"]]
    return table()[ids].mean(axis=0) * factor


def test_texts_become_vectors_in_their_order(artifact: Path) -> None:
    texts = ["hello world", "my", "hello my good world .", "good", "world"] * 3
    with runtimes.load(artifact) as model:
        vectors = model.embed(texts, batch_size=4)
        assert vectors.shape == (15, CONFIG.hidden_size)
        for text, vector in zip(texts, vectors, strict=True):
            np.testing.assert_allclose(vector, expected(text), rtol=1e-5)
        assert model.embed([]).shape == (0, CONFIG.hidden_size)
        assert model([]) == []
        np.testing.assert_array_equal(model("my")[0].vector, model(["my"])[0].vector)


def test_a_text_that_is_cut_says_so(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        fits, cut = model(["hello " * 10, "hello " * 11])
    assert model.max_length == 12
    assert (fits.truncated, cut.truncated) == (False, True)
    np.testing.assert_array_equal(fits.vector, cut.vector)


def test_results_are_json(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        (result,) = model("hello")
    values = json.loads(json.dumps(result.to_dict()))
    np.testing.assert_allclose(values["vector"], expected("hello"), rtol=1e-5)
    assert values["truncated"] is False


def test_it_describes_itself(artifact: Path) -> None:
    with runtimes.load(artifact, threads=1) as model:
        described = json.loads(json.dumps(model.describe().to_dict()))
    assert described["task"] == "sentence-similarity"
    assert described["variant"] == "model"
    assert described["max_length"] == 12
    assert described["runtime"]["threads"] == 1
    assert described["runtime"]["model"] == "model.onnx"


def test_a_variant_is_chosen_by_name(artifact: Path) -> None:
    with runtimes.load(artifact, variant="model_double") as model:
        np.testing.assert_allclose(model.embed("my")[0], expected("my", 2.0), rtol=1e-5)
        assert model.describe().variant == "model_double"
    with pytest.raises(ArtifactError, match="no variant 'model_half'; it has model, model_double"):
        runtimes.load(artifact, variant="model_half")


def test_a_closed_pipeline_says_so(artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        pass
    with pytest.raises(UsageError, match="is closed"):
        model("hello")


@pytest.mark.parametrize("texts", [[1], ["fine", None], ["fine", b"bytes"], ["half \ud800 a pair"]])
def test_what_is_no_text_is_refused(artifact: Path, texts: list[object]) -> None:
    with runtimes.load(artifact) as model, pytest.raises(InputError):
        model(texts)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "vocab.txt", "config.json"])
def test_a_changed_file_is_refused_before_it_is_opened(tmp_path: Path, name: str) -> None:
    folder = publish_toy(tmp_path / "artifact")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256"):
        runtimes.load(folder)


def test_hashes_are_left_out_on_request(tmp_path: Path) -> None:
    folder = publish_toy(tmp_path / "artifact")
    path = folder / "onnx" / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"toy", b"tox"))
    with runtimes.load(folder, check_hashes=False) as model:
        np.testing.assert_allclose(model.embed("my")[0], expected("my"), rtol=1e-5)


def test_an_artifact_that_is_replaced_while_it_opens_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish_toy(tmp_path / "artifact")
    original = Artifact.is_current
    replaced: list[Path] = []

    def replace_once(self: Artifact) -> bool:
        if not replaced:
            replaced.append(publish_toy(folder, table() * 5, force=True))
        return original(self)

    monkeypatch.setattr(Artifact, "is_current", replace_once)
    with runtimes.load(folder) as model:
        np.testing.assert_allclose(model.embed("my")[0], expected("my", 5.0), rtol=1e-5)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_that_is_no_artifact(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ArtifactError):
        runtimes.load(tmp_path / folder)


def test_every_task_has_a_pipeline() -> None:
    assert list(PIPELINES) == list(TASKS)


def test_predictions_for_the_command_line(artifact: Path) -> None:
    results = predict(artifact, ["hello world", "my"])
    np.testing.assert_allclose(results[0].to_dict()["vector"], expected("hello world"), rtol=1e-5)
    doubled = predict(artifact, ["my"], request=RuntimeRequest(variant="model_double", threads=1))
    np.testing.assert_allclose(doubled[0].to_dict()["vector"], expected("my", 2.0), rtol=1e-5)
    with pytest.raises(UsageError, match="--top-k has no meaning for sentence-similarity"):
        predict(artifact, ["hello"], RunOptions(top_k=3))
    with pytest.raises(UsageError, match="--pair has no meaning for sentence-similarity"):
        predict(artifact, ["hello"], RunOptions(pair="world"))


def test_an_edge_install_needs_neither_torch_nor_transformers_nor_onnx(artifact: Path) -> None:
    program = (
        "import sys, runtimes\n"
        f"runtimes.load({str(artifact)!r}).embed(['hello world'])\n"
        "heavy = {'torch', 'transformers', 'onnx', 'onnx_ir', 'onnxscript', 'huggingface_hub', 'safetensors', 'rich',\n"
        "         'filelock', 'export'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_importing_runtimes_imports_nothing_else() -> None:
    program = "import sys, runtimes; print(sorted({'numpy', 'onnxruntime', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("attempt", range(3))
def test_a_process_that_fails_early_ends_in_order(tmp_path: Path, attempt: int) -> None:
    """The libraries are still being imported on a thread when the error is raised: leaving then must not crash."""
    program = f"import runtimes; runtimes.load({str(tmp_path / 'missing')!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("bert_onnx.errors.ArtifactError")
