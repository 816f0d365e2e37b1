"""Precisions below fp32 from a user's side: what is made, what is refused, what is published, what stays untouched."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from export_samples import save_checkpoint, write_texts
from repository import ROOT

from bert_onnx.artifact import Artifact
from bert_onnx.cli import main as cli
from bert_onnx.errors import InputError, RuntimeUnavailableError, UsageError, VerificationError
from export.pipeline import export, extend
from export.plan import VariantPlan
from export.quantization.isa import find_isa
from export.request import ExportRequest, ExtendRequest, PrecisionRequest
from export.targets import TARGETS
from export.verify import VerifyReport, verify_artifact
from runtimes import load
from runtimes.machine.processor import this_processor

pytestmark = pytest.mark.slow

TASK = "sentence-similarity"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    # Weights of a trained model's size: what the error of 8 bits is a share of.
    save_checkpoint(folder / "checkpoint", TASK, initializer_range=0.1)
    write_texts(folder / "calibration.txt", 200, 1)
    write_texts(folder / "eval.txt", 60, 2)
    return folder


def request(folder: Path, *precisions: str, **changes: object) -> PrecisionRequest:
    values: dict[str, object] = {
        "precisions": precisions,
        "calibration": str(folder / "calibration.txt"),
        "evaluation": str(folder / "eval.txt"),
    }
    return PrecisionRequest(**values | changes)  # type: ignore[arg-type]


def export_request(folder: Path, output: Path, precision: PrecisionRequest, **changes: object) -> ExportRequest:
    values: dict[str, object] = {"model": str(folder / "checkpoint"), "task": TASK, "output": str(output)}
    return ExportRequest(**values | {"precision": precision} | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Artifact:
    """fp32, int8 and fp16, published whatever their figures are."""
    precision = request(folder, "fp32", "int8", "fp16", allow_degraded=True)
    return export(export_request(folder, folder / "artifact", precision)).artifact


def verify_again(artifact: Artifact, folder: Path) -> VerifyReport:
    return verify_artifact(str(artifact.folder), str(folder / "checkpoint"), evaluation=str(folder / "eval.txt"))


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_precision_has_a_file_and_a_verdict(artifact: Artifact, folder: Path) -> None:
    variants = {variant.name: variant for variant in artifact.manifest.variants}
    assert list(variants) == ["model", "model_qint8_avx512_vnni", "model_fp16"]
    whole, int8, half = variants.values()
    assert (whole.quality, whole.quantization, whole.isa) == (None, None, None)
    assert (int8.precision, int8.isa, half.precision, half.isa) == ("int8", "avx512_vnni", "fp16", None)
    assert int8.quantization is not None
    assert (int8.quantization.method, int8.quantization.calibration) == ("static", "calibration.txt")
    digest = hashlib.sha256((folder / "calibration.txt").read_bytes()).hexdigest()
    assert int8.quantization.calibration_sha256 == digest
    assert sum(int8.quantization.groups.values()) == 8, "2 layers: QKV, attention output, FFN1, FFN2"
    for variant in (int8, half):
        assert variant.quality is not None
        assert variant.quality.texts == "eval.txt"
        assert variant.quality.figures["cosine_mean"] > 0.99
        assert variant.quality.figures["invariance"] < 1e-5
    assert half.size_bytes < 0.75 * whole.size_bytes


@pytest.mark.parametrize("name", ["model_qint8_avx512_vnni", "model_fp16"])
def test_every_variant_gives_like_vectors(artifact: Artifact, name: str) -> None:
    isa = artifact.manifest.variant(name).isa
    if isa is not None and this_processor().saturates(isa):
        with pytest.raises(RuntimeUnavailableError, match="would saturate on this processor"):
            load(artifact.folder, name)
        return
    texts = ["the cat sat on the mat", "a dog ran"]
    expected, found = (
        np.array([answer.vector for answer in load(artifact.folder, variant)(texts)]) for variant in ("model", name)
    )
    assert (np.einsum("nd,nd->n", expected, found) > 0.98).all()


def test_the_card_tells_how_and_with_which_texts(artifact: Artifact) -> None:
    card = (artifact.folder / "README.md").read_text()
    for words in ("## Quality on held-out text", "eval.txt", "method static", "calibration.txt", "Laid out for avx512"):
        assert words in card


def test_verify_measures_again(artifact: Artifact, folder: Path) -> None:
    report = verify_again(artifact, folder)
    recorded = artifact.manifest.variant("model_qint8_avx512_vnni").quality
    assert recorded is not None
    again = report.qualities["model_qint8_avx512_vnni"]
    assert again.figures["cosine_mean"] == pytest.approx(recorded.figures["cosine_mean"], abs=1e-6)
    assert again.thresholds == recorded.thresholds
    assert set(report.qualities) == {"model_qint8_avx512_vnni", "model_fp16"}
    unseen = verify_artifact(str(artifact.folder), str(folder / "checkpoint"))
    assert unseen.unjudged == ("model_qint8_avx512_vnni", "model_fp16")
    assert not unseen.qualities


def test_below_budget_nothing_is_published(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(folder / "checkpoint"), "--task", TASK, "--output", str(tmp_path / "out")]
    command += ["--precision", "fp32,int8", "--budget", "0.9999999"]
    command += ["--calibration", str(folder / "calibration.txt"), "--eval", str(folder / "eval.txt")]
    assert cli.main(command) == 3
    error = capsys.readouterr().err
    assert re.search(r"mean cosine to the reference is 0\.9\d+, at least 0\.9999999 is needed", error)
    assert "The most sensitive layers: " in error
    assert "encoder" in error
    assert list(tmp_path.iterdir()) == []


def test_degraded_only_on_purpose_and_never_quietly(folder: Path, tmp_path: Path) -> None:
    precision = request(folder, "fp32", "int8", budget=0.9999999, allow_degraded=True)
    made = export(export_request(folder, tmp_path / "out", precision)).artifact
    quality = made.manifest.variant("model_qint8_avx512_vnni").quality
    assert quality is not None
    assert quality.degraded
    assert not quality.passed
    assert "**Degraded.**" in (made.folder / "README.md").read_text()
    report = verify_again(made, folder)
    report.raise_if_failed()  # it is what its manifest says


def test_verify_fails_a_variant_below_what_it_was_published_by(artifact: Artifact, folder: Path) -> None:
    report = verify_again(artifact, folder)
    found = report.qualities["model_fp16"]
    found.thresholds["cosine_mean"] = 2.0
    with pytest.raises(VerificationError, match="model_fp16 is below its budget"):
        report.raise_if_failed()
    assert report.to_dict()["passed"] is False


def test_quantize_adds_to_what_is_there(folder: Path, tmp_path: Path) -> None:
    checkpoint = str(folder / "checkpoint")
    export(export_request(folder, tmp_path / "out", PrecisionRequest(), targets=("portable", "web")))
    before = tree(tmp_path / "out")
    wanted = request(folder, "int8", isas=("avx2",), allow_degraded=True)
    report = extend(ExtendRequest(str(tmp_path / "out"), ("portable", "ort-cpu-unpadded"), wanted, checkpoint))
    names = [variant.name for variant in report.artifact.manifest.variants]
    assert names == ["model", "model_web", "model_quint8_avx2", "model_ort_cpu_unpadded_quint8_avx2"]
    after = tree(tmp_path / "out")
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"manifest.json", "README.md", "vectors.json"}
    Artifact.open(tmp_path / "out")
    extend(ExtendRequest(str(tmp_path / "out"), ("portable",), wanted, checkpoint))
    again = [variant.name for variant in Artifact.open(tmp_path / "out").manifest.variants]
    assert sorted(again) == sorted(names)


def test_quantize_that_fails_changes_nothing(artifact: Artifact, folder: Path) -> None:
    before = tree(artifact.folder)
    wanted = request(folder, "int8", isas=("avx2",), budget=0.9999999)
    with pytest.raises(VerificationError, match=r"static int8 graph for portable \(avx2\) is below its budget"):
        extend(ExtendRequest(str(artifact.folder), ("portable",), wanted, str(folder / "checkpoint")))
    assert tree(artifact.folder) == before
    assert [path.name for path in artifact.folder.parent.iterdir() if path.name.startswith(".artifact")] in (
        [],
        [".artifact.lock"],
    )


def test_evaluation_text_is_never_calibration_text(folder: Path, tmp_path: Path) -> None:
    same = request(folder, "int8", evaluation=str(folder / "calibration.txt"))
    with pytest.raises(InputError, match="that calibration never saw"):
        export(export_request(folder, tmp_path / "out", same))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--precision", "int3"], 2, "the precision 'int3' is unknown; choose from fp32, fp16, bf16, int8, int4"),
        (["--precision", ","], 2, "--precision is empty"),
        (["--precision", "int8", "--method", "magic"], 2, "the method 'magic' is unknown"),
        (["--precision", "int4", "--method", "static"], 2, "int4 is for weights alone"),
        (["--precision", "int8", "--isa", "sse2"], 2, "the instruction set 'sse2' is unknown"),
        (["--precision", "int8", "--target", "ort-cuda"], 2, "int8 does not run on the target ort-cuda"),
        (["--precision", "bf16"], 2, "bf16 does not run on the target portable"),
        (["--precision", "int8", "--budget", "1.5"], 2, "--budget 1.5 is out of range"),
        (["--precision", "int8", "--calibration", "no.txt"], None, "--calibration no.txt is not a file"),
        (["--precision", "int8", "--eval", "no.txt"], None, "--eval no.txt is not a file"),
    ],
)
def test_wrong_wishes(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int | None,
    words: str,
) -> None:
    found = cli.main(["export", str(folder / "checkpoint"), "--output", str(tmp_path / "out"), *arguments])
    assert found == status or (status is None and found not in (0, 1))
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_texts_that_teach_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("the cat\na dog\n")
    few = request(folder, "int8", calibration=str(tmp_path / "few.txt"))
    with pytest.raises(InputError, match="2 different texts"):
        export(export_request(folder, tmp_path / "out", few))
    (tmp_path / "empty.txt").write_text("\n\n")
    empty = request(folder, "int8", evaluation=str(tmp_path / "empty.txt"))
    with pytest.raises(InputError, match="holds no text"):
        export(export_request(folder, tmp_path / "out", empty))


def test_a_model_without_a_tokenizer_cannot_be_judged(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", TASK, tokenizer=False)
    code = cli.main(
        [
            "export",
            str(tmp_path / "checkpoint"),
            "--task",
            TASK,
            "--output",
            str(tmp_path / "out"),
            "--precision",
            "fp16",
        ]
    )
    assert code not in (0, 1)
    assert not (tmp_path / "out").exists()


def test_quantize_makes_no_fp32(artifact: Artifact) -> None:
    with pytest.raises(UsageError, match="quantize makes precisions below fp32"):
        ExtendRequest(str(artifact.folder), precision=PrecisionRequest(("fp32", "int8")))


@pytest.mark.parametrize(
    ("target", "precision", "method", "isa", "name"),
    [
        ("portable", "fp32", None, None, "model"),
        ("ort-cpu", "fp32", None, None, "model_ort_cpu"),
        ("portable", "fp16", None, None, "model_fp16"),
        ("ort-cuda", "fp16", None, None, "model_ort_cuda_fp16"),
        ("portable", "int8", "static", "avx512_vnni", "model_qint8_avx512_vnni"),
        ("portable", "int8", "static", "avx2", "model_quint8_avx2"),
        ("portable", "int8", "static", "arm64", "model_qint8_arm64"),
        ("portable", "int8", "dynamic", "arm64", "model_qint8_arm64_dynamic"),
        ("portable", "int8", "weights", None, "model_int8_weights"),
        ("portable", "int4", "weights", None, "model_q4"),
        ("web", "fp32", None, None, "model_web"),
        ("web", "fp16", None, None, "model_fp16"),
        ("web", "int8", "static", "avx2", "model_quantized"),
        ("web", "int8", "weights", None, "model_web_int8_weights"),
        ("web", "int4", "weights", None, "model_q4"),
        ("openvino", "int8", "static", "avx512_vnni", "model_openvino_qint8_avx512_vnni"),
    ],
)
def test_names_are_those_that_other_tools_look_for(
    target: str, precision: str, method: str | None, isa: str | None, name: str
) -> None:
    plan = VariantPlan(TARGETS[target], precision, method, None if isa is None else find_isa(isa))
    assert plan.name == name


def test_plans_are_in_order_and_each_once() -> None:
    wanted = PrecisionRequest(("int8", "fp32"), isas=("avx2", "arm64", "avx2"))
    request = ExportRequest("sample", targets=("web", "portable", "web"), precision=wanted)
    names = [plan.name for plan in request.plans()]
    assert names == ["model", "model_web", "model_quantized", "model_quint8_avx2", "model_qint8_arm64"]
    request = ExportRequest("sample", targets=("web",), precision=PrecisionRequest(("int8",)))
    assert [plan.name for plan in request.plans()] == ["model", "model_quantized"]


@pytest.mark.parametrize("targets", [("portable", "web"), ("web", "portable")])
def test_a_file_that_transformers_js_opens_is_made_once_for_the_web(targets: tuple[str, ...]) -> None:
    wanted = PrecisionRequest(("fp16", "int4"))
    for request in (ExportRequest("sample", targets=targets, precision=wanted), ExtendRequest("x", targets, wanted)):
        made = {plan.name: plan.target.name for plan in request.plans()}
        assert made.pop("model", "portable") == "portable"
        assert made == {"model_fp16": "web", "model_q4": "web"}


@pytest.mark.long
def test_the_sample_in_int8_keeps_its_meaning(tmp_path: Path) -> None:
    """Even with a third of the built-in texts, whose search takes a third of the time."""
    texts = (ROOT / "export" / "quantization" / "texts" / "calibration.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "third.txt").write_text("\n".join(texts[::3]) + "\n", encoding="utf-8")
    precision = PrecisionRequest(("int8",), calibration=str(tmp_path / "third.txt"))
    made = export(ExportRequest("sample", output=str(tmp_path / "out"), precision=precision)).artifact
    whole, int8 = made.manifest.variants
    assert int8.quality is not None
    figures = int8.quality.figures
    assert int8.quality.texts == "built-in evaluation"
    assert int8.quality.count >= 512
    assert figures["cosine_mean"] >= 0.999
    assert figures["cosine_min"] >= 0.995
    assert figures["neighbour_agreement"] >= 0.95
    assert figures["invariance"] <= 1e-5
    assert int8.size_bytes <= 0.30 * whole.size_bytes
