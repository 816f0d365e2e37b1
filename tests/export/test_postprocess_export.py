"""`export --postprocess` from checkpoint to artifact: every target and precision, manifest, card, vectors, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from export_samples import WORDS, save_checkpoint, tiny_eager, write_texts

from bert_onnx.artifact import Artifact
from bert_onnx.cli import main as cli
from bert_onnx.errors import EXIT_STATUS, UsageError, VerificationError
from bert_onnx.tasks import TaskOptions
from export import postprocess
from export.pipeline import export, extend
from export.request import ExportRequest, ExtendRequest, PrecisionRequest
from export.targets import TARGETS
from export.verification.runtime_matrix import runtime_matrix
from export.verify import verify_artifact
from runtimes import load

pytestmark = pytest.mark.slow

#: Outputs of a task's head, and what --postprocess adds.
ADDED: dict[str, tuple[list[str], list[str]]] = {
    "token-classification": (["logits"], ["probabilities", "label_ids"]),
    "question-answering": (
        ["start_logits", "end_logits"],
        ["answer_start", "answer_end", "answer_score", "no_answer_score"],
    ),
    "text-generation-with-past": (["logits", "present.0.key", "present.0.value"], ["next_token_ids"]),
}
Exported = Callable[[str], Artifact]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A function of a task: its artifact with every target; each is made once."""
    made: dict[str, Artifact] = {}

    def make(task: str) -> Artifact:
        if task not in made:
            folder = tmp_path_factory.mktemp("postprocess")
            checkpoint = save_checkpoint(folder / "checkpoint", task, num_hidden_layers=1)
            on_cpus = tuple(name for name in TARGETS if name not in ("ort-cuda-unpadded", "ort-tensorrt"))
            targets = ("portable", "ort-cpu") if task == "text-generation-with-past" else on_cpus
            request = ExportRequest(str(checkpoint), task, str(folder / "artifact"), targets, postprocess=True)
            made[task] = export(request).artifact
        return made[task]

    return make


def checkpoint_of(artifact: Artifact) -> str:
    return str(artifact.folder.parent / "checkpoint")


@pytest.mark.parametrize("task", ADDED)
def test_postprocess_outputs_stand_behind_all_other_outputs_of_every_variant(task: str, exported: Exported) -> None:
    manifest = exported(task).manifest
    before, added = ADDED[task]
    assert manifest.options.postprocess
    assert [port.name for port in manifest.outputs] == before + added
    for variant in manifest.variants:
        graph = onnx.load(exported(task).folder / variant.file, load_external_data=False).graph
        assert [value.name for value in graph.output] == before + added, variant.name
        assert (variant.passes[-1].name, variant.passes[-1].count > 0) == ("append_postprocess", True)
        assert {output.name: output.max_abs_diff <= output.tolerance for output in variant.parity.outputs} == (
            dict.fromkeys(before + added, True)
        )


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_every_variant_gives_the_same_outputs_at_padding_too(task: str, exported: Exported) -> None:
    artifact = exported(task)
    rng = np.random.default_rng(0)
    mask = np.array([[1] * 9, [1] * 5 + [0] * 4, [1] * 3 + [0] * 6])
    types = np.array([[0, 0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0, 0]])
    inputs = {"input_ids": rng.integers(5, 15, (3, 9)), "attention_mask": mask, "token_type_ids": types}
    first: list[np.ndarray] = []
    for variant in artifact.manifest.variants:
        session = onnxruntime.InferenceSession(artifact.path(variant), providers=["CPUExecutionProvider"])
        outputs = session.run(ADDED[task][1], inputs)
        for name, wanted, got in zip(ADDED[task][1], first or outputs, outputs, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5, err_msg=f"{variant.name} {name}")
        first = first or outputs
    if task == "token-classification":
        probabilities, labels = first
        assert (labels[mask == 0] == -1).all()
        assert (probabilities[mask == 0] == 0).all()
        assert (labels[mask == 1] >= 0).all()


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_every_runtime_gives_them(task: str, exported: Exported) -> None:
    artifact = exported(task)
    matrix = runtime_matrix(str(artifact.folder), "onnxruntime-cpu,openvino", checkpoint_of(artifact))
    verdicts = {(cell.variant, cell.runtime): cell.verdict for cell in matrix.cells if cell.precision == "fp32"}
    assert set(verdicts.values()) == {"pass"}, [cell for cell in matrix.cells if cell.verdict == "fail"]
    assert len(verdicts) >= 10


def test_the_matrix_fails_a_runtime_whose_outputs_do_not_follow(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtimes.engines.ort.cpu import OnnxRuntimeCpu

    honest = OnnxRuntimeCpu.run

    def run(self: OnnxRuntimeCpu, inputs: Any, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        found = honest(self, inputs, outputs)
        return {**found, "label_ids": np.where(found["label_ids"] == 0, 1, 0)}

    monkeypatch.setattr(OnnxRuntimeCpu, "run", run)
    artifact = exported("token-classification")
    matrix = runtime_matrix(str(artifact.folder), "onnxruntime-cpu", checkpoint_of(artifact))
    assert {cell.verdict for cell in matrix.cells} == {"fail"}
    assert "does not follow from its scores in case 'single 1x1'" in matrix.cells[0].reason


def test_verify_compares_them_again(exported: Exported) -> None:
    artifact = exported("question-answering")
    report = verify_artifact(str(artifact.folder), checkpoint_of(artifact))
    report.raise_if_failed()
    assert {output.name for output in report.parities["model"].outputs} >= {"answer_start", "no_answer_score"}


def test_card_inspect_and_vectors_have_them(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = exported("question-answering")
    card = (artifact.folder / "README.md").read_text()
    assert "| output | `answer_start` | int64 | [batch_size] |" in card
    assert "- `answer_start`: first token of the answer" in card
    assert cli.main(["inspect", str(artifact.folder)]) == 0
    shown = capsys.readouterr().out
    assert "question-answering (with postprocess outputs)" in shown
    assert "no_answer_score float32 [batch_size]" in shown
    assert cli.main(["inspect", str(artifact.path())]) == 0
    assert "answer_end int64 [batch_size]" in capsys.readouterr().out
    for case in json.loads((artifact.folder / "vectors.json").read_text())["cases"]:
        (start,), (end,) = (
            (case["outputs"][name]["values"] for name in ("answer_start", "answer_end"))
            if (case["outputs"]["answer_start"]["shape"] == [1])
            else ((0,), (0,))
        )
        assert isinstance(start, int)
        assert 0 <= start <= end


def test_pipelines_predict_as_before(exported: Exported, tmp_path: Path) -> None:
    artifact = exported("question-answering")
    plain = export(ExportRequest(checkpoint_of(artifact), "question-answering", str(tmp_path / "plain"))).artifact
    assert not plain.manifest.options.postprocess
    question, context = "the cat", "a dog sat on the mat . the cat ran on a mat"
    answers = [
        load(folder)(question, context, top_k=3, align_to_words=False) for folder in (artifact.folder, plain.folder)
    ]
    assert [(a.start, a.end) for a in answers[0][0].answers] == [(a.start, a.end) for a in answers[1][0].answers]


def test_a_loop_of_a_few_lines_generates(exported: Exported) -> None:
    """What `next_token_ids` is for: no maths beside the session."""
    artifact = exported("text-generation-with-past")
    session = onnxruntime.InferenceSession(artifact.path(), providers=["CPUExecutionProvider"])
    prompt = "the cat sat"
    ids = np.array([[WORDS.index(word) for word in ("[CLS]", *prompt.split())]])
    cache = {name: np.zeros((1, 4, 0, 8), np.float32) for name in ("past_key_values.0.key", "past_key_values.0.value")}
    step, made = ids, []
    for length in range(ids.shape[1], ids.shape[1] + 6):
        inputs = {"input_ids": step, "attention_mask": np.ones((1, length), np.int64), "token_type_ids": step * 0}
        chosen, key, value = session.run(["next_token_ids", "present.0.key", "present.0.value"], inputs | cache)
        cache = {"past_key_values.0.key": key, "past_key_values.0.value": value}
        made.append(int(chosen[0]))
        step = chosen[:, None]
    eager = load(artifact.folder, runtime="onnxruntime-cpu")
    logits = eager.runtime.run(
        {
            "input_ids": np.array([[*ids[0], *made[:-1]]]),
            "attention_mask": np.ones((1, 9), np.int64),
            "token_type_ids": np.zeros((1, 9), np.int64),
            "past_key_values.0.key": np.zeros((1, 4, 0, 8), np.float32),
            "past_key_values.0.value": np.zeros((1, 4, 0, 8), np.float32),
        },
        ["logits"],
    )["logits"]
    assert made == logits[0, 3:].argmax(axis=-1).tolist()


@pytest.mark.slow
def test_lower_precisions_postprocess_their_own_scores(tmp_path: Path) -> None:
    task = "token-classification"
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task, num_hidden_layers=1, initializer_range=0.1)
    texts = {
        name: write_texts(tmp_path / f"{name}.txt", 60, seed) for seed, name in enumerate(("calibration", "evaluation"))
    }
    halves = PrecisionRequest(("fp32", "fp16", "bf16"), evaluation=texts["evaluation"], allow_degraded=True)
    request = ExportRequest(
        str(checkpoint), task, str(tmp_path / "artifact"), ("ort-cuda",), precision=halves, postprocess=True
    )
    export(request)
    integers = PrecisionRequest(("int8", "int4"), **texts, allow_degraded=True)  # type: ignore[arg-type]
    targets = ("portable", "ort-cpu-unpadded")
    artifact = extend(ExtendRequest(str(tmp_path / "artifact"), targets, integers, str(checkpoint))).artifact
    variants = {variant.name: variant for variant in artifact.manifest.variants}
    assert {variant.precision for variant in variants.values()} == {"fp32", "fp16", "bf16", "int8", "int4"}
    for name, variant in variants.items():
        found = {output.name: output for output in variant.parity.outputs}
        assert found["label_ids"].max_abs_diff <= found["label_ids"].tolerance < 1e-3, name
        assert found["probabilities"].max_abs_diff <= 1e-5, name
        assert variant.quality is None or "invariance" in variant.quality.figures
    mask = np.array([[1] * 6, [1, 1, 1, 0, 0, 0]])
    inputs = {"input_ids": np.full((2, 6), 7), "attention_mask": mask, "token_type_ids": mask * 0}
    int8 = variants["model_ort_cpu_unpadded_qint8_avx512_vnni"]
    session = onnxruntime.InferenceSession(artifact.path(int8), providers=["CPUExecutionProvider"])
    logits, labels = session.run(["logits", "label_ids"], inputs)
    np.testing.assert_array_equal(labels, np.where(mask, logits.argmax(axis=-1), -1))
    own = json.loads((artifact.folder / "vectors.json").read_text())["cases"][0]["variants"]
    assert all(isinstance(value, int) for value in own[int8.name]["label_ids"]["values"])


def test_a_graph_with_wrong_postprocess_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(op: Any, logits: ir.Value) -> Sequence[ir.Value]:
        return op.Softmax(logits, axis=-1), op.argmax(op.Sub(op.float(0.0), logits))

    monkeypatch.setitem(postprocess._METHODS, "class", wrong)
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "text-classification", num_hidden_layers=1)
    command = ["export", str(checkpoint), "--output", str(tmp_path / "artifact"), "--postprocess"]
    assert cli.main(command) == EXIT_STATUS[VerificationError] == 3
    error = capsys.readouterr().err
    assert "label_ids[" in error
    assert "breaks in the pass" not in error, "no pass is to blame"
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("feature-extraction", {}, "feature-extraction returns vectors"),
        ("text-classification", {"problem_type": "regression"}, "logits are those numbers already"),
        ("question-answering", {"type_vocab_size": 1}, "cannot tell the context from the question"),
    ],
)
def test_what_has_no_postprocess_is_refused_before_anything_is_made(
    task: str, changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task, num_hidden_layers=1, **changes)
    command = ["export", str(checkpoint), "--task", task, "--output", str(tmp_path / "artifact"), "--postprocess"]
    assert cli.main(command) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_the_traced_module_has_no_postprocess_and_the_eager_one_has() -> None:
    eager = tiny_eager("token-classification", TaskOptions(postprocess=True))
    assert [port.name for port in eager.module.outputs] == ["logits", "probabilities", "label_ids"]
    assert [port.name for port in eager.module.without_postprocess().outputs] == ["logits"]
    with pytest.raises(UsageError, match="leave --postprocess out"):
        tiny_eager("feature-extraction", TaskOptions(postprocess=True))


def test_two_exports_have_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    first = exported("question-answering")
    again = export(ExportRequest(checkpoint_of(first), output=str(tmp_path / "again"), postprocess=True)).artifact
    for name in ("onnx/model.onnx", "vectors.json"):
        assert again.manifest.files[name] == first.manifest.files[name], name
