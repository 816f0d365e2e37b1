"""Which runtime runs which variant: rules first, then measurements, then everything that does not fit together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError, UsageError
from runtimes.engines.table import RUNTIMES, RuntimeRow
from runtimes.machine.processor import Processor, this_processor
from runtimes.selection import select
from runtimes.selection.request import RuntimeRequest
from runtimes.selection.select import choices
from runtimes.selection.tuned import Tuned, TunedRow, installed_libraries, load_tuned, save_tuned, tuned_path

VNNI = Processor("Zen 4", "x86_64", frozenset({"avx2", "avx512", "avx512_vnni"}))
AVX2 = Processor("Haswell", "x86_64", frozenset({"avx2"}))
ARM = Processor("Neoverse", "arm64", frozenset({"neon", "dot_product"}))


@dataclass(frozen=True)
class FakeVariant:
    name: str
    target: str
    precision: str = "fp32"
    isa: str | None = None


class FakeManifest(SimpleNamespace):
    def variant(self, name: str) -> FakeVariant:
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise ArtifactError(f"the artifact has no variant {name!r}")


PORTABLE = FakeVariant("model", "portable")
ORT = FakeVariant("model_ort_cpu", "ort-cpu")
UNPADDED = FakeVariant("model_ort_cpu_unpadded", "ort-cpu-unpadded")
OPENVINO = FakeVariant("model_openvino", "openvino")
CUDA = FakeVariant("model_ort_cuda", "ort-cuda")
INT8 = FakeVariant("model_qint8_avx512_vnni", "ort-cpu", "int8", "avx512_vnni")
INT7 = FakeVariant("model_quint8_avx2", "ort-cpu", "int8", "avx2")
INT8_ARM = FakeVariant("model_qint8_arm64", "ort-cpu", "int8", "arm64")
FP16 = FakeVariant("model_fp16", "portable", "fp16")
ALL = (PORTABLE, ORT, UNPADDED, OPENVINO, CUDA, INT8, INT7, INT8_ARM, FP16)


@pytest.fixture(autouse=True)
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every library is there, and no GPU; tests say what differs."""
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: ())
    monkeypatch.setattr(select, "has_gpu", lambda: False)


def first(
    variants: tuple[FakeVariant, ...], processor: Processor = VNNI, measured: Tuned | None = None, **wanted: Any
) -> tuple[str, str, str]:
    manifest: Any = FakeManifest(variants=variants)
    best = choices(manifest, RuntimeRequest(**wanted), processor, measured)[0]
    assert best.why
    return best.row.name, best.variant.name, best.precision


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ((PORTABLE,), ("onnxruntime-cpu", "model")),
        ((PORTABLE, ORT), ("onnxruntime-cpu", "model_ort_cpu")),
        ((PORTABLE, ORT, UNPADDED), ("onnxruntime-cpu", "model_ort_cpu_unpadded")),
        ((PORTABLE, OPENVINO), ("openvino", "model_openvino")),
        ((PORTABLE, UNPADDED, OPENVINO), ("openvino", "model_openvino")),
        ((PORTABLE, CUDA), ("onnxruntime-cpu", "model")),
        ((PORTABLE, INT8, FP16), ("onnxruntime-cpu", "model")),
    ],
)
def test_fp32_by_rule(variants: tuple[FakeVariant, ...], expected: tuple[str, str]) -> None:
    assert first(variants) == (*expected, "fp32")


def test_the_first_of_equals(tmp_path: Path) -> None:
    assert first((PORTABLE, FakeVariant("model_other", "portable")))[1] == "model"


def test_a_gpu_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    assert first(ALL) == ("onnxruntime-cuda", "model_ort_cuda", "fp32")
    assert first((PORTABLE, UNPADDED)) == ("onnxruntime-cuda", "model", "fp32")
    assert first((UNPADDED,)) == ("onnxruntime-cpu", "model_ort_cpu_unpadded", "fp32")


def test_of_16_bits_fp16_is_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    halves = (FakeVariant("bf16", "ort-cuda", "bf16"), FakeVariant("fp16", "ort-cuda", "fp16"))
    assert first((PORTABLE, CUDA, *halves), precision="fastest") == ("onnxruntime-cuda", "fp16", "fp16")
    assert first((PORTABLE, CUDA, halves[0]), precision="fastest")[1] == "bf16"


def pair(variants: tuple[FakeVariant, ...], measured: Tuned | None = None, **wanted: Any) -> tuple[str, str | None]:
    """The variant that is taken first, and the one for batches with padding to skip."""
    manifest: Any = FakeManifest(variants=variants)
    best = choices(manifest, RuntimeRequest(**wanted), VNNI, measured)[0]
    if best.unpadded is not None:
        assert f"batches with padding to skip run on {best.unpadded.name}" in best.why
    return best.variant.name, best.unpadded.name if best.unpadded else None


def test_on_a_gpu_padded_and_unpadded_graphs_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    unpadded = FakeVariant("unpadded", "ort-cuda-unpadded")
    halves = (FakeVariant("fp16", "ort-cuda", "fp16"), FakeVariant("unpadded_fp16", "ort-cuda-unpadded", "fp16"))
    both = (PORTABLE, CUDA, unpadded, *halves)
    assert pair(both) == ("model", None)  # there is no GPU
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    assert pair(both) == ("model_ort_cuda", "unpadded")
    assert pair(both, precision="fp16") == pair(both, precision="fastest") == ("fp16", "unpadded_fp16")
    assert pair((PORTABLE, CUDA, halves[1])) == ("model_ort_cuda", None)  # not of the same precision
    assert pair((PORTABLE, unpadded)) == ("unpadded", None)
    assert pair(both, variant="model_ort_cuda") == ("model_ort_cuda", None)
    assert pair(both, variant="unpadded") == ("unpadded", None)
    assert pair(both, runtime="onnxruntime-cpu") == ("model", None)
    row = TunedRow("onnxruntime-cuda", "unpadded", "fp32", "fp32", 1, 1.0, True)
    assert pair(both, Tuned("throughput", (row,), {})) == ("unpadded", None)  # what was measured, alone


def test_the_padded_graph_alone_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other one does not open."""
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    manifest: Any = FakeManifest(variants=(PORTABLE, CUDA, FakeVariant("unpadded", "ort-cuda-unpadded")))
    found = choices(manifest, RuntimeRequest(), VNNI, None)
    assert [(c.variant.name, c.unpadded is not None) for c in found[:3]] == [
        ("model_ort_cuda", True), ("model_ort_cuda", False), ("unpadded", False)
    ]  # fmt: skip


def test_without_openvino_its_graphs_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: tuple(n for n in self.needs if n == "openvino"))
    assert first((PORTABLE, OPENVINO)) == ("onnxruntime-cpu", "model", "fp32")
    assert first((OPENVINO,)) == ("onnxruntime-cpu", "model_openvino", "fp32")


def test_without_onnxruntime_openvino_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: tuple(n for n in self.needs if n == "onnxruntime"))
    assert first((PORTABLE, ORT)) == ("openvino", "model", "fp32")
    with pytest.raises(RuntimeUnavailableError, match="needs onnxruntime, which cannot be imported; install it with"):
        first((PORTABLE,), runtime="onnxruntime-cpu")
    assert first((PORTABLE,), runtime="onnxruntime-cpu", strict=False)[0] == "openvino"


def test_without_anything_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: self.needs)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[cpu\]"'):
        first((PORTABLE,))


def test_int8_is_the_file_of_this_processor() -> None:
    assert first(ALL, VNNI, precision="int8") == ("onnxruntime-cpu", "model_qint8_avx512_vnni", "int8")
    assert first(ALL, AVX2, precision="int8") == ("onnxruntime-cpu", "model_quint8_avx2", "int8")
    assert first(ALL, ARM, precision="int8") == ("onnxruntime-cpu", "model_qint8_arm64", "int8")


@pytest.mark.parametrize("isa", ["avx2", None])
def test_a_file_that_leaves_room_or_has_integer_weights_alone_runs_everywhere(isa: str | None) -> None:
    variant = FakeVariant("model_int8", "ort-cpu", "int8", isa)
    for processor in (AVX2, VNNI, ARM):
        assert first((PORTABLE, variant), processor, precision="int8")[1] == "model_int8"


@pytest.mark.parametrize("isa", ["avx512_vnni", "arm64"])
@pytest.mark.parametrize("named", ["variant", "precision"])
def test_a_file_that_would_saturate_is_never_run(isa: str, named: str) -> None:
    variant = FakeVariant("model_int8", "ort-cpu", "int8", isa)
    wanted = {"variant": "model_int8"} if named == "variant" else {"precision": "int8"}
    for strict in (True, False):
        with pytest.raises(RuntimeUnavailableError, match=r"would saturate on this processor, .*; use model, or"):
            first((PORTABLE, variant), AVX2, strict=strict, **wanted)
    assert first((PORTABLE, variant), AVX2, precision="fastest")[1] == "model"
    assert first((PORTABLE, variant), ARM, **wanted)[1] == "model_int8"


def test_fastest_takes_what_was_verified() -> None:
    assert first(ALL, precision="fastest")[2] == "int8"
    assert first((PORTABLE, OPENVINO), precision="fastest") == ("openvino", "model_openvino", "fp32")


def test_a_precision_that_a_runtime_computes_in() -> None:
    assert first((PORTABLE,), precision="bf16") == ("openvino", "model", "bf16")
    bf16: Any = FakeManifest(variants=(PORTABLE,))
    assert "no verdict" in choices(bf16, RuntimeRequest(precision="bf16"), VNNI, None)[0].why
    assert first(ALL, precision="fp16") == ("onnxruntime-cpu", "model_fp16", "fp16")
    assert first(ALL, runtime="openvino", precision="bf16")[2] == "bf16"


def test_what_is_named_is_taken() -> None:
    assert first(ALL, variant="model") == ("onnxruntime-cpu", "model", "fp32")
    assert first(ALL, variant="model_qint8_avx512_vnni")[2] == "int8"
    assert first(ALL, runtime="openvino") == ("openvino", "model_ort_cpu_unpadded", "fp32")
    assert first(ALL, runtime="reference")[0] == "reference"
    assert first(ALL, variant="model", runtime="openvino", precision="bf16") == ("openvino", "model", "bf16")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"runtime": "abacus"}, "the runtime 'abacus' is unknown"),
        ({"precision": "int3"}, "precision 'int3' is unknown; choose one of int8"),
        ({"variant": "model_ort_cpu", "runtime": "openvino"}, "openvino cannot run model_ort_cpu"),
        ({"variant": "model", "precision": "int8"}, "cannot run model .* in int8"),
        ({"precision": "int4"}, "the artifact has no int4 variant"),
        ({"runtime": "onnxruntime-cpu", "precision": "bf16"}, "has no bf16 variant, and onnxruntime-cpu cannot"),
    ],
)
def test_what_does_not_fit_together_is_refused(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        first(ALL, **wanted)
    with pytest.raises(ArtifactError, match="no variant 'model_x'"):
        first(ALL, variant="model_x")


def tuned_rows(*rows: tuple[str, str, str, str, float, bool]) -> Tuned:
    built = tuple(TunedRow(r, v, p, c, 3, ms, ok) for r, v, p, c, ms, ok in rows)
    return Tuned("throughput", built, installed_libraries())


def test_a_measurement_beats_the_rules() -> None:
    measured = tuned_rows(
        ("openvino", "model", "bf16", "bf16", 1.0, False),
        ("openvino", "model", "fp32", "fp32", 2.0, True),
        ("onnxruntime-cpu", "model_qint8_avx512_vnni", "int8", "fp32", 3.0, True),
        ("onnxruntime-cpu", "model_ort_cpu_unpadded", "fp32", "fp32", 4.0, True),
    )
    assert first(ALL, measured=measured) == ("openvino", "model", "fp32")
    assert first(ALL, measured=measured, precision="fastest") == ("openvino", "model", "fp32")
    assert first(ALL, measured=measured, precision="bf16") == ("openvino", "model", "bf16")
    assert first(ALL, measured=measured, precision="int8")[1] == "model_qint8_avx512_vnni"
    manifest: Any = FakeManifest(variants=ALL)
    best = choices(manifest, RuntimeRequest(), VNNI, measured)[0]
    assert (best.threads, "measured on this machine" in best.why) == (3, True)
    assert choices(manifest, RuntimeRequest(threads=1), VNNI, measured)[0].threads == 1
    # what is named is not overruled
    assert first(ALL, measured=measured, runtime="onnxruntime-cpu")[1] == "model_ort_cpu_unpadded"
    assert first(ALL, measured=measured, variant="model_ort_cpu")[1] == "model_ort_cpu"


def test_a_measurement_of_what_is_gone_is_left_aside() -> None:
    measured = tuned_rows(("openvino", "model_gone", "fp32", "fp32", 1.0, True))
    assert first((PORTABLE, ORT), measured=measured)[1] == "model_ort_cpu"


@pytest.mark.parametrize(
    ("text", "machine", "architecture", "features"),
    [
        ("model name\t: EPYC\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", "x86_64", "x86_64", VNNI.features),
        ("flags : avx2 avx_vnni\nflags : nothing\n", "AMD64", "x86_64", {"avx2", "avx_vnni"}),
        ("processor : 0\nFeatures : fp asimd asimddp i8mm bf16\n", "aarch64", "arm64",
         {"neon", "dot_product", "int8_matrix", "arm_bf16"}),
        ("", "riscv64", "riscv64", set()),
    ],
)  # fmt: skip
def test_processors_are_read(tmp_path: Path, text: str, machine: str, architecture: str, features: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    processor = this_processor(tmp_path / "cpuinfo", machine)
    assert (processor.architecture, processor.features) == (architecture, frozenset(features))
    assert processor.name
    assert this_processor(tmp_path / "missing", machine).features == frozenset()


def test_a_processor_with_avx_vnni_alone_does_not_saturate() -> None:
    processor = Processor("Alder Lake", "x86_64", frozenset({"avx2", "avx_vnni"}))
    assert not processor.saturates("avx512_vnni")
    assert Processor("Skylake", "x86_64", frozenset({"avx2", "avx512"})).saturates("avx512_vnni")


def test_measurements_are_kept_by_content_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_ONNX_CACHE", str(tmp_path))
    path = tuned_path("a" * 64, VNNI, 2)
    assert path.is_relative_to(tmp_path)
    assert len({path, tuned_path("b" * 64, VNNI, 2), tuned_path("a" * 64, ARM, 2), tuned_path("a" * 64, VNNI, 4)}) == 4
    assert load_tuned(path) is None
    measured = tuned_rows(("openvino", "model", "fp32", "fp32", 2.0, True))
    save_tuned(path, measured)
    assert load_tuned(path) == measured
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    assert load_tuned(path) is None  # measured with other versions
    for damage in ("", "[]", "{", '{"purpose": "x"}', path.read_text()[:-20]):
        path.write_text(damage)
        assert load_tuned(path) is None


class TestLoad:
    """The same on a real artifact, through `runtimes.load`."""

    @pytest.fixture
    def artifact(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("BERT_ONNX_CACHE", str(tmp_path / "cache"))
        monkeypatch.undo()
        monkeypatch.setenv("BERT_ONNX_CACHE", str(tmp_path / "cache"))
        return publish_toy(tmp_path / "artifact")

    def test_it_says_which_and_why(self, artifact: Path) -> None:
        with runtimes.load(artifact, threads=1) as model:
            described = model.describe()
        assert described.runtime.name == "onnxruntime-cpu"
        assert described.precision == "fp32"
        assert "fp32 is the default; by rule, since bert-onnx tune has not measured this" in described.why

    def test_the_tuned_choice_is_used(self, artifact: Path) -> None:
        from bert_onnx.artifact import Artifact
        from runtimes.machine.cpu import usable_threads

        path = tuned_path(Artifact.open(artifact).manifest_sha256, this_processor(), usable_threads())
        save_tuned(path, tuned_rows(("openvino", "model_double", "fp32", "fp32", 2.0, True)))
        with runtimes.load(artifact) as model:
            described = model.describe()
        assert (described.runtime.name, described.variant, described.runtime.threads) == ("openvino", "model_double", 3)
        assert "measured on this machine" in described.why

    def test_cuda_that_is_asked_for_and_not_there_is_an_error(
        self, artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import onnxruntime

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(RuntimeUnavailableError, match="was built without CUDAExecutionProvider"):
            runtimes.load(artifact, runtime="onnxruntime-cuda")
        with runtimes.load(artifact, runtime="onnxruntime-cuda", strict=False, threads=1) as model:
            described = model.describe()
        assert described.runtime.name == "onnxruntime-cpu"
        assert "Not taken: this onnxruntime" in described.why

    def test_a_gpu_that_cannot_be_used_is_told(self, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import onnxruntime

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        monkeypatch.setattr(select, "has_gpu", lambda: True)
        with runtimes.load(artifact, threads=1) as model:
            assert model.describe().runtime.name == "onnxruntime-cpu"
            assert "Not taken: this onnxruntime" in model.describe().why


def test_every_automatic_runtime_is_in_the_table() -> None:
    assert [row.name for row in RUNTIMES.values() if row.automatic] == [
        "onnxruntime-cuda", "onnxruntime-cpu", "openvino"
    ]  # fmt: skip
