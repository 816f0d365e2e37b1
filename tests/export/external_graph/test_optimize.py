"""optimize: what it refuses to do, what it says, and that nothing is written unless the answers agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from external_exporters import LAYERS, Recipe, export
from spelled_out import D, H, K, normal, parse
from spelled_out_attention import CONSTANTS, Spelling

import export.external_graph.optimize as optimizer
from bert_onnx.errors import ArtifactError, ExportError, UsageError, VerificationError
from export.external_graph.cases import external_cases, longest_sequence, read_inputs
from export.external_graph.optimize import optimize
from export.passes.base import PassContext, PassOutcome
from export.passes.table import PASSES


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Recipe("torchscript", 17, "sdpa"), tmp_path_factory.mktemp("graph"))


def write(model: ir.Model, path: Path) -> Path:
    for number, node in enumerate(model.graph):
        node.name = f"{node.name}_{number}"
    ir.save(model, path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "toaster"}, "target 'toaster' is unknown; choose one of portable"),
        ({"opset": 16}, "opset 16 is out of range"),
        ({"heads": 4}, "--heads and --hidden belong together"),
        ({"hidden": 32}, "--heads and --hidden belong together"),
        ({"heads": 5, "hidden": 32}, "--hidden 32 cannot be split into --heads 5"),
        ({"heads": 0, "hidden": 32}, "cannot be split"),
        ({"heads": 8, "hidden": 32}, "--heads 8 --hidden 32 do not fit .* 4 heads of 8"),
    ],
)
def test_options(options: dict[str, object], message: str, graph: Path, tmp_path: Path) -> None:
    arguments = {"target": "portable", **options}
    with pytest.raises(UsageError, match=message):
        optimize(graph, tmp_path / "out.onnx", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_files(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the output is the input"):
        optimize(graph, graph.parent / "." / graph.name, "portable")
    with pytest.raises(UsageError, match=r"the folder .* does not exist"):
        optimize(graph, tmp_path / "nowhere" / "out.onnx", "portable")
    with pytest.raises(ArtifactError, match="does not exist"):
        optimize(tmp_path / "missing.onnx", tmp_path / "out.onnx", "portable")
    (tmp_path / "text.onnx").write_text("not a graph")
    with pytest.raises(ArtifactError, match="cannot be read as an ONNX graph"):
        optimize(tmp_path / "text.onnx", tmp_path / "out.onnx", "portable")
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


def outside(graph: Path, folder: Path) -> onnx.ModelProto:
    """The graph, with its weights in a file of `folder`."""
    path = folder / "model.onnx"
    onnx.save(onnx.load(graph), path, save_as_external_data=True, location="weights.bin", size_threshold=64)
    return onnx.load(path, load_external_data=False)


@pytest.mark.parametrize("location", ["../weights.bin", "link.bin", "sub/../../weights.bin"])
def test_weights_outside_of_the_folder_are_not_read(location: str, graph: Path, tmp_path: Path) -> None:
    model = outside(graph, tmp_path)
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"wants weights from .* outside of its folder"):
        optimize(folder / "model.onnx", tmp_path / "out.onnx", "portable")
    assert not (tmp_path / "out.onnx").exists()


def test_weights_that_are_missing(graph: Path, tmp_path: Path) -> None:
    outside(graph, tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match="which does not exist"):
        optimize(tmp_path / "model.onnx", tmp_path / "out.onnx", "portable")


def test_large_weights_go_beside_the_output(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "EXTERNAL_DATA_THRESHOLD", 1000)
    (tmp_path / "in").mkdir()
    outside(graph, tmp_path / "in")
    report = optimize(tmp_path / "in" / "model.onnx", tmp_path / "out.onnx", "portable")
    assert report.data_file == tmp_path / "out.onnx_data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.onnx", "out.onnx_data"]
    assert report.recognised["attention"] == LAYERS
    assert onnx.load(tmp_path / "out.onnx").graph.initializer


def test_report_as_json(graph: Path, tmp_path: Path) -> None:
    report = optimize(graph, tmp_path / "out.onnx", "ort-cpu")
    values = json.loads(json.dumps(report.to_dict()))
    assert values["recognised"] == {"attention": LAYERS, "layer_norm": 1 + 2 * LAYERS, "gelu": LAYERS}
    assert values["fused_before"] == {"attention": 0, "layer_norm": 1 + 2 * LAYERS, "gelu": 0}
    assert values["nodes_after"] == sum(values["operators"].values()) < values["nodes_before"]
    assert values["comparison"]["max_abs_diff"] < values["comparison"]["tolerance"]
    assert {entry["name"] for entry in values["ledger"]} >= {"raise_attention", "raise_masks", "finish"}


def test_same_input_same_bytes(graph: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        optimize(graph, tmp_path / name, "ort-cpu")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_private_name_reaches_the_file(graph: Path, tmp_path: Path) -> None:
    optimize(graph, tmp_path / "out.onnx", "portable")
    model = onnx.load(tmp_path / "out.onnx")
    names = {dim.dim_param for value in model.graph.value_info for dim in value.type.tensor_type.shape.dim}
    assert names <= {"", "batch", "sequence"}
    assert {node.domain for node in model.graph.node} == {""}
    assert [entry.domain for entry in model.opset_import] == [""]


def broken(model: ir.Model, context: PassContext) -> PassOutcome:
    """A pass with a fault: it doubles the first weight that MatMul reads."""
    node = next(node for node in model.graph if node.op_type == "MatMul")
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * 1.001, name=weight.name)
    return PassOutcome(1)


def test_a_wrong_answer_is_not_written(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "raise_linear", broken)
    (tmp_path / "out.onnx").write_text("what was there before")
    with pytest.raises(VerificationError, match=r"does not compute what .* differs by .* nothing was written"):
        optimize(graph, tmp_path / "out.onnx", "portable")
    assert (tmp_path / "out.onnx").read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def change(graph: Path, path: Path, edit: Callable[[onnx.GraphProto], None]) -> Path:
    """A copy of the graph, edited."""
    model = onnx.load(graph)
    edit(model.graph)
    onnx.save(model, path)
    return path


def test_what_cannot_be_matched_is_said_and_stays_correct(graph: Path, tmp_path: Path) -> None:
    """One layer returns its scores: that attention stays, the other one is recognised."""

    def return_scores(inner: onnx.GraphProto) -> None:
        softmax = next(node for node in inner.node if node.op_type == "Softmax")
        inner.output.append(onnx.helper.make_tensor_value_info(softmax.input[0], onnx.TensorProto.FLOAT, None))

    report = optimize(change(graph, tmp_path / "in.onnx", return_scores), tmp_path / "out.onnx", "ort-cpu")
    assert report.recognised == {"attention": LAYERS - 1, "layer_norm": 1 + 2 * LAYERS, "gelu": LAYERS}
    assert len(report.refusals) == 1
    assert report.refusals[0].node == "/encoder/layer.0/attention/self/Softmax"
    assert "is an output of the graph" in report.refusals[0].reason
    assert report.operators["Softmax"] == 1
    assert report.comparison.max_abs_diff <= 2e-5


def test_operator_that_the_target_does_not_have(graph: Path, tmp_path: Path) -> None:
    def add_cosine(inner: onnx.GraphProto) -> None:
        inner.node.append(onnx.helper.make_node("Cosh", [inner.output[0].name], ["extra"], name="strange"))
        inner.output.append(onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, None))

    source = change(graph, tmp_path / "in.onnx", add_cosine)
    with pytest.raises(ExportError, match=r"Cosh \(strange\) is not an operator of the target portable"):
        optimize(source, tmp_path / "out.onnx", "portable")
    assert not (tmp_path / "out.onnx").exists()


def heads_that_are_not_told() -> ir.Model:
    """States come from an operator whose shape nobody can infer."""
    project = " ".join(f"{name} = com.microsoft.FusedMatMul(x, w{name})" for name in "qkv")
    spelling = Spelling(query=f"{project} {Spelling().query}", inputs=f"float[B,S,{D}] x, float[B,1,1,S] bias")
    parts = [getattr(spelling, name) for name in ("query", "key", "value", "product", "scaled", "biased", "softmax")]
    weights = {f"w{name}": normal(D, D, seed=number) for number, name in enumerate("qkv")}
    return parse(
        " ".join([*parts, spelling.context, spelling.merged]),
        spelling.inputs,
        f"float[B,S,{D}] y",
        {**CONSTANTS, **weights, "heads": [0, -1, H, K]},
    )


def test_heads_that_the_graph_does_not_tell(tmp_path: Path) -> None:
    source = write(heads_that_are_not_told(), tmp_path / "in.onnx")
    with pytest.raises(UsageError, match=r"number of heads cannot be told .*; give --heads and --hidden"):
        optimize(source, tmp_path / "out.onnx", "ort-cpu")
    with pytest.raises(UsageError, match="do not fit"):
        optimize(source, tmp_path / "out.onnx", "ort-cpu", heads=2 * H, hidden=D)


def test_heads_that_the_user_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(heads_that_are_not_told(), tmp_path / "in.onnx")
    row = optimizer.find_target("ort-cpu")
    allowed = {**row.__dict__, "operators": row.operators | {"com.microsoft.FusedMatMul"}}
    monkeypatch.setattr(optimizer, "find_target", lambda name: type(row)(**allowed))
    report = optimize(source, tmp_path / "out.onnx", "ort-cpu", heads=H, hidden=D)
    assert report.recognised["attention"] == 1
    assert report.refusals == ()


def test_inputs_are_told_apart_by_their_use(graph: Path) -> None:
    model = ir.load(graph)
    inputs = {one.name: one for one in read_inputs(model.graph)}
    assert {name: one.rows for name, one in inputs.items()} == {
        "input_ids": 99,
        "attention_mask": 0,
        "token_type_ids": 2,
    }
    assert [name for name, one in inputs.items() if one.is_mask] == ["attention_mask"]
    assert longest_sequence(model.graph) == 40


def test_cases_of_a_decoder_with_a_cache() -> None:
    model = parse(
        "e = Gather(table, ids) t = Concat<axis = 2>(past, past) y = Relu(e) c = Cast<to = 1>(mask)",
        f"int64[B,S] ids, int64[B, total] mask, float[B,{H},past_length,{K}] past",
        "float[B,S,24] y, float[N] t, float[M] c",
        {"table": normal(50, D)},
    )
    model.graph.inputs[1].shape = ir.Shape(["B", "past_length + S"])
    inputs = read_inputs(model.graph)
    cases = {case.name: case.inputs for case in external_cases(inputs, longest_sequence(model.graph))}
    assert [name.split()[0] for name in cases] == ["single", "full", "longest", "right-padded", "left-padded", "holed"]
    for arrays in cases.values():
        batch, tokens = arrays["ids"].shape
        past = arrays["past"].shape[2]
        assert arrays["mask"].shape == (batch, past + tokens)
        assert tokens + past <= 50
        assert arrays["ids"].max() < 50
        assert (arrays["mask"].sum(-1) >= 1).all()
    assert (cases["right-padded 4x23"]["mask"][:, 0] == 1).all()
    assert (cases["left-padded 4x23"]["mask"][:, -1] == 1).all()
    right = [case.name.split()[0] for case in external_cases(inputs, 50, right_padding=True)]
    assert right == ["single", "full", "longest", "right-padded"]


def test_input_of_unknown_rank(tmp_path: Path) -> None:
    model = parse("y = Relu(x)", f"float[B,S,{D}] x")
    model.graph.inputs[0].shape = None
    with pytest.raises(ExportError, match="the input x has no shape"):
        optimize(write(model, tmp_path / "in.onnx"), tmp_path / "out.onnx", "portable")


def test_graph_that_runs_on_no_case(tmp_path: Path) -> None:
    body = "a = Reshape(x, shape) y = Relu(a)"
    model = parse(body, f"float[B,S,{D}] x", "float[7,1000] y", {"shape": np.array([7, 1000])})
    with pytest.raises(ExportError, match="runs on none of the inputs"):
        optimize(write(model, tmp_path / "in.onnx"), tmp_path / "out.onnx", "portable")
