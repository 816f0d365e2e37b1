"""The manifest: stable JSON out, strict JSON in."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from artifact_builders import make_manifest, make_variant, publish_small
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_onnx.artifact import SCHEMA_VERSION, Artifact, Manifest, OutputParity, PassRecord, operator_history
from bert_onnx.artifact.contract.decode import decode_manifest
from bert_onnx.errors import ArtifactError

#: Objects whose keys are data, not fields.
_TABLES = {"tools", "files", "operators", "fused"}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Artifact.open(publish_small(tmp_path_factory.mktemp("sealed") / "artifact")).manifest


@pytest.fixture(scope="module")
def document(sealed: Manifest) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(sealed.to_json())
    return values


def paths_of_fields(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Path of every field in a JSON document, entries of tables left out."""
    if isinstance(values, dict):
        for key, value in values.items():
            if not path or path[-1] not in _TABLES:
                yield (*path, key)
            yield from paths_of_fields(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from paths_of_fields(value, (*path, index))


def changed(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> str:
    """`document` with another value at `path`."""
    result = copy.deepcopy(document)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(result)


def without(document: dict[str, Any], path: tuple[str | int, ...]) -> str:
    result = copy.deepcopy(document)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(result)


def decoded(text: str | bytes) -> Manifest:
    return decode_manifest(text if isinstance(text, bytes) else text.encode(), "manifest.json")


def test_round_trip(sealed: Manifest) -> None:
    text = sealed.to_json()
    assert decoded(text) == sealed
    assert decoded(text.encode()) == sealed
    assert decoded(text).to_json() == text


def test_json_does_not_depend_on_the_order_of_tables(sealed: Manifest) -> None:
    variant = sealed.variants[0]
    shuffled = replace(
        sealed,
        tools=dict(reversed(sealed.tools.items())),
        files=dict(reversed(sealed.files.items())),
        variants=(replace(variant, operators=dict(reversed(variant.operators.items()))),),
    )
    assert shuffled.to_json() == sealed.to_json()


def test_fields_keep_their_order(document: dict[str, Any]) -> None:
    assert list(document) == [
        "schema_version", "bert_onnx", "tools", "source", "task", "options", "config", "model_max_length",
        "inputs", "outputs", "variants", "sentence", "text_graphs", "files",
    ]  # fmt: skip
    assert list(document["files"]) == sorted(document["files"])
    assert list(document["variants"][0]["operators"]) == ["MatMul", "Softmax"]


def test_every_missing_field_is_named(document: dict[str, Any]) -> None:
    paths = list(paths_of_fields(document))
    assert len(paths) > 80
    for path in paths:
        with pytest.raises(ArtifactError) as caught:
            decoded(without(document, path))
        assert f"missing required field `{path[-1]}`" in str(caught.value), path


def test_every_field_of_the_wrong_type_is_named(document: dict[str, Any]) -> None:
    for path in paths_of_fields(document):
        with pytest.raises(ArtifactError) as caught:
            decoded(changed(document, path, [{"wrong": math.pi}]))
        assert str(path[-1]) in str(caught.value), path


def test_every_unknown_field_is_named(document: dict[str, Any]) -> None:
    objects = {path[:-1] for path in paths_of_fields(document)}
    assert len(objects) > 10
    for path in objects:
        with pytest.raises(ArtifactError, match="surprise"):
            decoded(changed(document, (*path, "surprise"), 1))


@pytest.mark.parametrize("value", [-1, True, 1.5, "1", None, 2**70, [], {}])
@pytest.mark.parametrize("name", ["nodes", "opset", "size_bytes"])
def test_counts_are_whole_numbers(document: dict[str, Any], name: str, value: Any) -> None:
    with pytest.raises(ArtifactError, match=name):
        decoded(changed(document, ("variants", 0, name), value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"0"', "1" + "0" * 400])
def test_differences_are_finite(document: dict[str, Any], number: str) -> None:
    text = changed(document, ("variants", 0, "parity", "outputs", 0, "max_abs_diff"), 123456789)
    with pytest.raises(ArtifactError):
        decoded(text.replace("123456789", number))


def test_a_difference_that_is_not_finite_is_not_written() -> None:
    variant = make_variant()
    parity = replace(variant.parity, outputs=(OutputParity("logits", math.nan, 1e-5, "1x1", (0,)),))
    with pytest.raises(ArtifactError, match="not finite"):
        make_manifest(variants=(replace(variant, parity=parity),)).to_json()


def test_newer_schema_says_what_to_do(document: dict[str, Any]) -> None:
    newer = {**document, "schema_version": SCHEMA_VERSION + 1, "a_new_field": 1}
    with pytest.raises(
        ArtifactError,
        match=rf"schema version {SCHEMA_VERSION + 1} .* reads 5 and {SCHEMA_VERSION}; update bert-onnx\.$",
    ):
        decoded(json.dumps(newer))


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_schema_version_is_a_whole_number(document: dict[str, Any], version: Any) -> None:
    with pytest.raises(ArtifactError, match="schema_version"):
        decoded(json.dumps({**document, "schema_version": version}))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("task",), "translation", "translation"),
        (("options", "modules", 0, "modes"), ["sum"], "sum"),
        (("options", "modules", 0, "modes"), [], "no pooling"),
        (("options", "modules", 0, "kind"), "Summing", "Summing"),
        (("options", "modules"), [{"kind": "LayerNorm", "folder": "../up", "dimension": 3}], "leads out"),
        (("sentence", "default_prompt_name"), "absent", "absent"),
        (("sentence", "similarity_fn_name"), "angle", "angle"),
        (("sentence", "truncate_dim"), 0, "truncate_dim"),
        (("inputs",), [], "inputs is empty"),
        (("variants",), [], "variants is empty"),
        (("inputs", 0, "dtype"), "object", "dtype"),
        (("inputs", 0, "axes"), [0], "axes"),
        (("inputs", 0, "axes"), [True], "axes"),
        (("inputs", 0, "axes"), [""], "axes"),
        (("inputs", 0, "axes"), [-5], "axes"),
        (("inputs", 1, "name"), "input_ids", "input_ids.*twice"),
        (("variants", 0, "file"), "onnx/model.bin", "lacks 'onnx/model.bin'"),
        (("variants", 0, "file"), "config.json", "no .onnx file"),
        (("variants", 0, "data_file"), None, "says 7500 bytes but"),
        (("variants", 0, "size_bytes"), 1, "says 1 bytes but"),
        (("variants", 0, "parity", "verdict"), "maybe", r"parity\.verdict: Invalid enum value 'maybe'"),
        (("variants", 0, "parity", "outputs"), [], "cover"),
        (("variants", 0, "passes", 0, "operators"), {"MatMul": 7}, "took away operators that it did not have"),
        (("variants", 0, "passes", 0, "operators"), {"MatMul": 1.5}, "operators"),
        (("text_graphs", 0, "file"), "onnx/other.onnx", "no .onnx file"),
        (("text_graphs", 0, "file"), "onnx/model.onnx", "says 200 bytes but"),
        (("text_graphs", 0, "size_bytes"), 1, "says 1 bytes but"),
        (("text_graphs", 0, "variant"), "model_int8", "no variant"),
        (("text_graphs", 0, "data_file"), None, "not that of its variant"),
        (("text_graphs", 0, "conformance", "identical"), 501, "more texts"),
        (("text_graphs", 0, "parity", "outputs"), [], "cover"),
        (("text_graphs", 0, "inputs", 0, "dtype"), "object", "dtype"),
        (("inputs", 0, "dtype"), "string", "dtype"),
        (("files", "config.json", "sha256"), "AB" * 32, "sha256"),
        (("files", "config.json", "sha256"), "ab" * 31, "sha256"),
        (("files", "config.json", "size"), -1, "size"),
        (("files", "manifest.json"), {"sha256": "ab" * 32, "size": 1}, "itself"),
        (("files", "CONFIG.json"), {"sha256": "ab" * 32, "size": 1}, "twice"),
    ],
)
def test_rules_between_fields(
    document: dict[str, Any], path: tuple[str | int, ...], value: Any, complaint: str
) -> None:
    with pytest.raises(ArtifactError, match=complaint):
        decoded(changed(document, path, value))


def test_two_variants_of_one_name(document: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="'model' twice"):
        decoded(json.dumps({**document, "variants": document["variants"] * 2}))


def test_variants_are_found_by_name(tmp_path: Path) -> None:
    manifest = make_manifest(variants=(make_variant(), make_variant("model_quantized")))
    assert manifest.variant().name == "model"
    assert manifest.variant("model_quantized").file == "onnx/model_quantized.onnx"
    with pytest.raises(ArtifactError, match=r"no variant 'model_int8'; it has model, model_quantized\."):
        manifest.variant("model_int8")


def test_graphs_that_take_text_are_found_by_their_variant() -> None:
    manifest = make_manifest()
    assert manifest.text_graph() is manifest.text_graph("model") is manifest.text_graphs[0]
    with pytest.raises(ArtifactError, match="'model_int8' has no graph that takes text; these have one: model"):
        manifest.text_graph("model_int8")
    with pytest.raises(ArtifactError, match="export it with --text-input"):
        make_manifest(text_graphs=()).text_graph()


@pytest.mark.parametrize("version", [1, 4])
def test_an_older_schema_says_what_to_do(document: dict[str, Any], version: int) -> None:
    older = {name: value for name, value in document.items() if name != "text_graphs"} | {"schema_version": version}
    with pytest.raises(
        ArtifactError, match=rf"^manifest.json has schema version {version} .*; export the model again\.$"
    ):
        decoded(json.dumps(older))


def test_schema_5_is_read_and_written_as_today(document: dict[str, Any], sealed: Manifest) -> None:
    older = copy.deepcopy(document) | {"schema_version": 5}
    with pytest.raises(ArtifactError, match="unknown field 'operators'"):
        decoded(json.dumps(older))
    for record in older["variants"][0]["passes"]:
        del record["operators"]
    manifest = decoded(json.dumps(older))
    record = manifest.variants[0].passes[0]
    assert (record.name, record.count, record.operators) == ("fold_scale", 1, None)
    assert operator_history(manifest.variants[0].passes, manifest.variants[0].operators) == []
    known = replace(manifest.variants[0], passes=sealed.variants[0].passes)
    assert replace(manifest, variants=(known,)) == sealed
    assert decoded(manifest.to_json()) == manifest
    for variants in (1, [1], [{}], [{"passes": 1}], [{"passes": [1]}]):
        with pytest.raises(ArtifactError):
            decoded(json.dumps(older | {"variants": variants}))


def test_operators_before_and_after_each_pass() -> None:
    passes = (
        PassRecord("a", 2, {"Add": -2, "Gelu": 1}),
        PassRecord("b", 0),
        PassRecord("c", 1, {"Gelu": -1, "Erf": 1}),
    )
    first, second, third = operator_history(passes, {"Add": 1, "Erf": 1})
    assert (first.before, first.after) == ({"Add": 3, "Erf": 0, "Gelu": 0}, {"Add": 1, "Erf": 0, "Gelu": 1})
    assert second.before == second.after == third.before == first.after
    assert third.after == {"Add": 1, "Erf": 1}
    unknown = (passes[0], PassRecord("b", 0, None), passes[2])
    assert operator_history(unknown, {"Add": 1, "Erf": 1}) == [third]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_an_artifact_error(text: bytes) -> None:
    with pytest.raises(ArtifactError):
        decoded(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=_JSON)
def test_any_value_in_any_place_is_read_or_refused(document: dict[str, Any], data: st.DataObject, value: Any) -> None:
    """Whatever stands in a field: a manifest that writes the same again, or an ArtifactError."""
    path = data.draw(st.sampled_from(list(paths_of_fields(document))))
    try:
        manifest = decoded(changed(document, path, value))
    except ArtifactError:
        return
    assert decoded(manifest.to_json()) == manifest
