"""A graph that is not equal to the eager model is never published; the verdict names the worst place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from export_samples import save_checkpoint, tiny_eager

from bert_onnx.artifact import Artifact, OutputParity, Parity
from bert_onnx.cli import main as cli
from bert_onnx.errors import UsageError, VerificationError
from bert_onnx.tasks import Port
from export.passes.base import PassContext, PassOutcome
from export.passes.graph.values import constant_array
from export.passes.table import PASSES
from export.pipeline import export
from export.plan import VariantPlan
from export.request import ExportRequest
from export.targets import TARGETS
from export.verification.cases import Case, verification_cases
from export.verification.parity import compare, require_parity
from export.verification.tolerances import TOLERANCES, find_tolerance
from runtimes.engines.base import RuntimeDescription

pytestmark = pytest.mark.slow


class _Fixed:
    """A runtime that returns what it was given."""

    name = "onnxruntime-cpu"
    inputs: tuple[Port, ...] = ()
    outputs = (Port("last_hidden_state", "float32", ("batch_size", 3)),)

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return {"last_hidden_state": self.output}

    def describe(self) -> RuntimeDescription:
        return RuntimeDescription(self.name, (), "none", 1, "none")

    def close(self) -> None:
        """Nothing to give back."""


_TRUTH = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]], np.float32)


def _compare(output: np.ndarray) -> Parity:
    return compare(_Fixed(output), _Fixed(_TRUTH), [Case("only 2x3", {})], "fp32")


def test_equal_outputs_pass() -> None:
    parity = _compare(_TRUTH.copy())
    assert parity.passed
    assert parity.max_abs_diff == 0.0
    assert parity.cases == ("only 2x3",)


def test_a_difference_within_the_tolerance_passes_and_one_beyond_fails() -> None:
    limit = find_tolerance("fp32", "onnxruntime-cpu", "last_hidden_state").limit(6.0)
    for factor, passed in ((0.5, True), (1.5, False)):
        output = _TRUTH.copy()
        output[1, 0] += np.float32(limit * factor)
        assert _compare(output).passed is passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_outputs_fail(value: float) -> None:
    output = _TRUTH.copy()
    output[1, 2] = value
    parity = _compare(output)
    assert parity.verdict == "fail"
    assert parity.outputs[0].index == (1, 2)
    with pytest.raises(VerificationError, match=r"the graph is not equal .* last_hidden_state\[1, 2\] differs by inf"):
        require_parity(parity, "the graph")


@pytest.mark.parametrize("output", [_TRUTH[:1], _TRUTH.astype(np.float64), _TRUTH[..., None]])
def test_another_shape_or_dtype_fails(output: np.ndarray) -> None:
    assert not _compare(output).passed


def test_a_comparison_of_nothing_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        compare(_Fixed(_TRUTH), _Fixed(_TRUTH), [], "fp32")


def test_unknown_rows_have_no_tolerance() -> None:
    with pytest.raises(UsageError, match="no tolerance for last_hidden_state in fp7"):
        find_tolerance("fp7", "onnxruntime-cpu", "last_hidden_state")
    assert all(row.measured for row in TOLERANCES.values())


def _spoil(model: ir.Model, context: PassContext) -> PassOutcome:
    """One weight of the last layer is off by a thousandth."""
    value = model.graph.initializers["encoder.layer.1.output.dense.bias"]
    array = constant_array(value)
    assert array is not None
    spoiled = array.copy()
    spoiled[5] += 1e-3
    value.const_value = ir.tensor(spoiled, name=value.name)
    return PassOutcome(1)


@pytest.fixture
def spoiled_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portable target with a last pass that breaks the graph."""
    monkeypatch.setitem(PASSES, "spoil", _spoil)
    portable = TARGETS["portable"]
    monkeypatch.setitem(TARGETS, "portable", replace(portable, passes=(*portable.passes, "spoil")))
    monkeypatch.setattr("export.request.REFERENCE", VariantPlan(TARGETS["portable"]))


@pytest.mark.usefixtures("spoiled_passes")
def test_a_broken_graph_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    status = cli.main(["export", str(checkpoint), "--output", str(tmp_path / "artifact")])
    message = capsys.readouterr().err
    assert status == 3
    assert re.search(r"(last_hidden_state|pooler_output)\[\d+, ", message)
    assert "in case '" in message
    assert "allowed" in message
    assert "breaks in the pass spoil" in message
    assert not (tmp_path / "artifact").exists()
    assert [path.name for path in tmp_path.iterdir() if "staging" in path.name] == []


@pytest.mark.usefixtures("spoiled_passes")
def test_checking_each_pass_names_the_one_that_breaks_the_graph(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    with pytest.raises(VerificationError, match="the pass spoil breaks the graph"):
        export(ExportRequest(str(checkpoint), output=str(tmp_path / "artifact"), check_each_pass=True))


def test_checking_each_pass_finds_nothing_in_whole_graphs(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction", num_hidden_layers=1)
    request = ExportRequest(
        str(checkpoint), output=str(tmp_path / "artifact"), targets=("ort-cpu",), check_each_pass=True
    )
    fused = {variant.name: variant.fused for variant in export(request).artifact.manifest.variants}
    assert fused["model_ort_cpu"]["attention"] == 1


def test_a_failed_export_leaves_the_old_artifact(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    destination = str(tmp_path / "artifact")
    before = export(ExportRequest(str(checkpoint), output=destination)).artifact.manifest
    request.getfixturevalue("spoiled_passes")
    with pytest.raises(VerificationError):
        export(ExportRequest(str(checkpoint), output=destination, force=True))
    assert Artifact.open(destination).manifest == before


def test_the_worst_output_is_named() -> None:
    close = OutputParity("logits", 1e-6, 1e-5, "a", (0,))
    far = OutputParity("pooler_output", 2e-5, 1e-5, "b 3x17", (2, 7))
    with pytest.raises(VerificationError, match=r"pooler_output\[2, 7\] differs by 2e-05 in case 'b 3x17'"):
        require_parity(Parity("fail", "eager", "here", (close, far), ("a", "b 3x17")), "the graph")


def test_cases_have_the_shapes_that_were_promised() -> None:
    eager = tiny_eager("text-generation-with-past", max_position_embeddings=512)
    cases = {case.name: case.inputs for case in verification_cases(eager.task, eager.config, eager.module.inputs)}
    shapes = {name: inputs["input_ids"].shape for name, inputs in cases.items()}
    for name, shape in (("single 1x0+1", (1, 1)), ("full 3x0+17", (3, 17)), ("full 2x0+128", (2, 128))):
        assert shapes[name] == shape
    assert shapes["longest 1x0+512"] == (1, 512)
    pasts = {inputs["past_key_values.0.key"].shape[2] for inputs in cases.values()}
    assert {0, 1, 9, 511} <= pasts
    left, right = cases["left-padded 4x0+17"]["attention_mask"], cases["right-padded 4x0+17"]["attention_mask"]
    assert left[:, -1].all()
    assert not left[:, 0].all()
    assert right[:, 0].all()
    assert not right[:, -1].all()
    holed = cases["holed 4x0+17"]["attention_mask"]
    assert (np.diff(holed, axis=1) == 1).any()
    assert cases["pairs 3x0+17"]["token_type_ids"].max() == 1


def test_cases_are_the_same_every_time_and_fit_short_models() -> None:
    eager = tiny_eager("feature-extraction", max_position_embeddings=4)
    first, second = (list(verification_cases(eager.task, eager.config, eager.module.inputs)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        for name, array in one.inputs.items():
            np.testing.assert_array_equal(array, other.inputs[name])
        assert one.inputs["input_ids"].shape[1] <= 4
