"""vectors.json: what it says is what the model says, at real tokens, in few bytes, and the same every time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import ALL_TASKS, WORDS, save_checkpoint, tiny_eager

from bert_onnx.tasks import TaskOptions
from bert_onnx.tokenization import load_tokenizer
from export.pipeline import export
from export.reference.load import Eager
from export.reference.runtime import Reference
from export.request import ExportRequest
from export.verification.vectors import VECTORS_NAME, vector_cases, write_vectors

pytestmark = pytest.mark.slow

LONGEST = 24


def _write(folder: Path, eager: Eager, tokenizer: bool = True) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        load_tokenizer(folder).save_pretrained(folder)
    cases = vector_cases(folder, eager.module.inputs, eager.config, LONGEST)
    path = write_vectors(folder, cases, Reference(eager), LONGEST)
    return json.loads(path.read_text(encoding="utf-8"))


def _arrays(case: dict[str, Any], eager: Eager) -> dict[str, np.ndarray]:
    ports = {port.name: port for port in eager.module.inputs}
    return {
        name: np.array(tensor["values"], ports[name].dtype).reshape(tensor["shape"])
        for name, tensor in case["inputs"].items()
    }


@pytest.mark.parametrize("task", ALL_TASKS)
def test_every_value_is_the_eager_models(task: str, tmp_path: Path) -> None:
    eager = tiny_eager(task)
    document = _write(tmp_path, eager)
    assert (document["schema_version"], document["max_length"], len(document["cases"])) == (1, LONGEST, 7)
    for case in document["cases"]:
        arrays = _arrays(case, eager)
        found = Reference(eager).run(arrays)
        assert case["outputs"].keys() == found.keys()
        for name, tensor in case["outputs"].items():
            assert tensor["shape"] == list(found[name].shape)
            flat = found[name].ravel()
            actual = flat[tensor["offsets"]] if "offsets" in tensor else flat
            assert len(tensor["values"]) == actual.size > 0
            np.testing.assert_allclose(tensor["values"], actual, rtol=1e-5, atol=1e-6)


def test_texts_give_the_ids_and_one_is_cut(tmp_path: Path) -> None:
    eager = tiny_eager("sentence-similarity")
    document = _write(tmp_path, eager)
    tokenizer = load_tokenizer(tmp_path)
    for case in document["cases"]:
        rows = tokenizer(case["texts"], case["pairs"], truncation="longest_first", max_length=LONGEST, padding=True)
        for name, tensor in case["inputs"].items():
            assert np.ravel(rows[name]).tolist() == tensor["values"]
    by_name = {case["name"]: case for case in document["cases"]}
    assert by_name["too long"]["inputs"]["input_ids"]["shape"] == [1, LONGEST]
    assert 1 in by_name["pair"]["inputs"]["token_type_ids"]["values"]
    assert 0 in by_name["padded"]["inputs"]["attention_mask"]["values"]


def test_values_stand_at_real_tokens(tmp_path: Path) -> None:
    eager = tiny_eager("feature-extraction", TaskOptions(output_attentions=True, output_hidden_states=True))
    case = next(case for case in _write(tmp_path, eager)["cases"] if case["name"] == "padded")
    mask = _arrays(case, eager)["attention_mask"]
    assert not mask.all()
    for name, axis in (("last_hidden_state", 1), ("hidden_states.1", 1), ("attentions.0", 2)):
        tensor = case["outputs"][name]
        where = np.unravel_index(tensor["offsets"], tensor["shape"])
        assert mask[where[0], where[axis]].all()
        assert set(where[0]) == {0, 1, 2}
    assert "offsets" not in case["outputs"].get("pooler_output", {})


@pytest.mark.parametrize("task", ["fill-mask", "text-generation-with-past", "multiple-choice"])
def test_without_a_tokenizer_ids_are_drawn(task: str, tmp_path: Path) -> None:
    document = _write(tmp_path, tiny_eager(task), tokenizer=False)
    assert all(case["texts"] is None and case["pairs"] is None for case in document["cases"])
    lengths = {case["inputs"]["input_ids"]["shape"][-1] for case in document["cases"]}
    assert len(lengths) > 2
    assert max(lengths) == LONGEST


def test_one_segment_and_an_encoders_states(tmp_path: Path) -> None:
    document = _write(tmp_path / "one", tiny_eager("text-classification", type_vocab_size=1))
    assert all(case["pairs"] is None for case in document["cases"])
    crossed = _write(tmp_path / "two", tiny_eager("text-generation-with-past", add_cross_attention=True))
    states = crossed["cases"][0]["inputs"]["encoder_hidden_states"]
    assert states["shape"] == [1, 2, 32]
    assert crossed["cases"][0]["inputs"]["past_key_values.0.key"] == {"shape": [1, 4, 0, 8], "values": []}


def test_large_models_have_small_files(tmp_path: Path) -> None:
    options = TaskOptions(output_attentions=True, output_hidden_states=True)
    eager = tiny_eager("sentence-similarity", options, hidden_size=768, num_hidden_layers=12, vocab_size=2000)
    _write(tmp_path, eager)
    assert (tmp_path / VECTORS_NAME).stat().st_size < 200_000


def test_published_with_outputs_of_its_own_for_every_quantised_variant(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "sentence-similarity")
    request = ExportRequest(str(checkpoint), "sentence-similarity", str(tmp_path / "artifact"))
    artifact = export(request).artifact
    assert VECTORS_NAME in artifact.manifest.files
    published = (artifact.folder / VECTORS_NAME).read_bytes()
    assert all(case["variants"] == {} for case in json.loads(published)["cases"])
    eager = tiny_eager("sentence-similarity")
    quantised = dataclasses.replace(artifact.variant(), name="model_int8", precision="int8")
    longest = artifact.manifest.model_max_length
    cases = vector_cases(artifact.folder, eager.module.inputs, eager.config, longest)
    half = dataclasses.replace(
        artifact.variant(), name="model_bf16", precision="bf16", file="onnx/no-kernels-here.onnx"
    )
    write_vectors(artifact.folder, cases, Reference(eager), longest, (artifact.variant(), quantised, half))
    for case in json.loads((artifact.folder / VECTORS_NAME).read_bytes())["cases"]:
        own = case["variants"]
        assert list(own) == ["model_int8"]
        for name, tensor in case["outputs"].items():
            np.testing.assert_allclose(own["model_int8"][name]["values"], tensor["values"], atol=1e-5)
    write_vectors(artifact.folder, cases, Reference(eager), longest, (artifact.variant(),))
    assert (artifact.folder / VECTORS_NAME).read_bytes() == published
