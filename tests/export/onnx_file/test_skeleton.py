"""The message without its weights: nothing else is lost, and each weight is found where the message says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bert_onnx.errors import ExportError
from export.onnx_file.check import check_file
from export.onnx_file.skeleton import read_skeleton

WEIGHT = np.arange(2000, dtype=np.float32).reshape(40, 50)


def make_model(weight: TensorProto | None = None) -> onnx.ModelProto:
    """y = x W + b"""
    weight = weight or numpy_helper.from_array(WEIGHT, "w")
    bias = numpy_helper.from_array(np.ones(50, np.float32), "b")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 40])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 50])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"kept": "yes"})
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(make_model(), path)
    return path


def test_only_the_data_of_large_weights_is_missing(path: Path) -> None:
    skeleton = read_skeleton(path)
    weight, bias = sorted(skeleton.graph.initializer, key=lambda tensor: tensor.name, reverse=True)
    assert not weight.raw_data
    assert bias == make_model().graph.initializer[1], "200 bytes are not worth leaving behind"
    place = {entry.key: entry.value for entry in weight.external_data}
    assert place["location"] == "model.onnx"
    offset, length = int(place["offset"]), int(place["length"])
    assert path.read_bytes()[offset : offset + length] == WEIGHT.tobytes()
    onnx.external_data_helper.load_external_data_for_model(skeleton, str(path.parent))
    weight.ClearField("external_data")
    weight.ClearField("data_location")
    skeleton.graph.initializer.sort(key=lambda tensor: tensor.name, reverse=True)
    assert skeleton == make_model()


def test_data_in_typed_fields_stays(tmp_path: Path) -> None:
    typed = helper.make_tensor("w", TensorProto.FLOAT, [40, 50], WEIGHT.ravel())
    onnx.save(make_model(typed), tmp_path / "typed.onnx")
    assert read_skeleton(tmp_path / "typed.onnx") == make_model(typed)
    check_file(tmp_path / "typed.onnx")


@pytest.mark.parametrize("external", [False, True])
def test_a_good_file_passes_and_its_folder_is_left_alone(tmp_path: Path, external: bool) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make_model(), path, save_as_external_data=external, location="model.onnx_data", size_threshold=100)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    check_file(path)
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_shapes_are_inferred(tmp_path: Path) -> None:
    model = make_model()
    model.graph.initializer[0].dims[:] = [50, 40]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=r"the onnx checker refuses model\.onnx: .*[Dd]imension"):
        check_file(tmp_path / "model.onnx")


def test_a_missing_data_file_is_refused(tmp_path: Path) -> None:
    onnx.save(make_model(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=100)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ExportError, match=r"m\.data"):
        check_file(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["../model.onnx", "/etc/hostname", "folder/../../x"])
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    tensor = TensorProto(name="w", dims=[40, 50], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "m.onnx").write_bytes(make_model(tensor).SerializeToString())
    with pytest.raises(ExportError, match="the onnx checker refuses"):
        check_file(tmp_path / "m.onnx")


def test_files_that_are_no_model(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for name, data in {
        "empty": b"",
        "cut": whole[:-3000],
        "text": b"this is no model at all" * 100,
        "long": b"\x3a" + b"\xff" * 12,
        "huge": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    }.items():
        bad = tmp_path / f"{name}.onnx"
        bad.write_bytes(data)
        with pytest.raises(ExportError, match=f"the onnx checker refuses {name}"):
            check_file(bad)


def test_random_damage_is_an_error_or_a_message(path: Path, tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(0), path.read_bytes()
    bad = tmp_path / "bad.onnx"
    refusals = []
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
        damaged[rng.integers(0, len(damaged))] = rng.integers(0, 256)
        bad.write_bytes(damaged)
        try:
            read_skeleton(bad)
        except ValueError as error:
            refusals.append(str(error))
    assert refusals
    assert all(refusal.startswith("it ") for refusal in refusals)
