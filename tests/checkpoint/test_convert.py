"""convert_weights: pickles become safetensors, and no code of a pickle ever runs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_checkpoints import tiny_folder, tiny_model

from bert_onnx.checkpoint import LoadReport, convert_weights, find_checkpoint, load_weights
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel


def pickle_folder(folder: Path, value: Any, name: str = "pytorch_model.bin", **options: Any) -> Path:
    tiny_folder(folder, BertModel)
    (folder / "model.safetensors").unlink()
    torch.save(value, folder / name, **options)
    return folder


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_is_converted_and_then_loads(zipped: bool, tmp_path: Path) -> None:
    saved = tiny_model(BertForMaskedLM)
    folder = pickle_folder(tmp_path, saved.state_dict(), _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=rf"pickle format only .*: bert-onnx convert-weights {folder}"):
        find_checkpoint(str(folder))
    assert convert_weights(folder) == folder / "model.safetensors"
    assert (folder / "pytorch_model.bin").exists()
    model = tiny_model(BertForMaskedLM, seed=1)
    assert load_weights(model, find_checkpoint(str(folder))) == LoadReport()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in saved.state_dict().items())


def test_tied_tensors_are_written_once_and_old_names_stay(tmp_path: Path) -> None:
    table = torch.randn(4, 4)
    state = {
        "a.LayerNorm.gamma": table,
        "tied": table,
        "same storage, other shape": table.view(16)[:8],
        "alone": table + 1,
    }
    read = load_file(convert_weights(pickle_folder(tmp_path, state)))
    assert sorted(read) == ["a.LayerNorm.gamma", "alone", "same storage, other shape"]
    assert torch.equal(read["same storage, other shape"], table.view(16)[:8])


def test_shards_become_one_file(tmp_path: Path) -> None:
    shards = {f"pytorch_model-{n}.bin": {name: torch.full((2,), float(n))} for n, name in enumerate("ab")}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, state in shards.items() for name in state}}))
    (first, state), *others = shards.items()
    pickle_folder(tmp_path, state, first)
    with pytest.raises(CheckpointError, match=r"names 1 shard\(s\) that .* lacks: pytorch_model-1\.bin; fetch"):
        convert_weights(tmp_path)
    for file, state in others:
        pickle_folder(tmp_path, state, file)
    assert {name: value.tolist() for name, value in load_file(convert_weights(tmp_path)).items()} == {
        "a": [0, 0],
        "b": [1, 1],
    }


def test_shards_outside_the_folder_or_with_one_name_are_refused(tmp_path: Path) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../x.bin"}}))
    with pytest.raises(CheckpointError, match="not the plain name"):
        convert_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "1.bin", "b": "2.bin"}}))
    for file in ("1.bin", "2.bin"):
        pickle_folder(tmp_path, {"a": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match="tensors that another shard has, too: a"):
        convert_weights(tmp_path)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "module"])
def test_a_training_program_s_wrapper_is_taken_off(wrapper: str, tmp_path: Path) -> None:
    value = {"epoch": 3, wrapper: {"w": torch.ones(2)}}
    assert list(load_file(convert_weights(pickle_folder(tmp_path, value, "checkpoint.pt")))) == ["w"]


class Malice:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.trace}'",))


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_malice_is_refused_and_does_not_run(form: str, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    value = {"w": torch.ones(2), "x": Malice(trace)}
    folder = tmp_path / "model"
    if form == "bare pickle":
        pickle_folder(folder, {})
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Malice(trace)}))
    else:
        pickle_folder(folder, value, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="is refused, since it holds more than tensors") as caught:
        convert_weights(folder)
    assert not trace.exists()
    assert "\n" not in str(caught.value)
    assert not (folder / "model.safetensors").exists()
    with open(folder / "pytorch_model.bin", "rb") as file:  # the trap is real: an ordinary load springs it
        if form == "bare pickle":
            pickle.load(file)
            assert trace.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is refused"):
        convert_weights(pickle_folder(tmp_path, torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(2)], "does not hold a state dict, but list"),
        ({}, "does not hold a state dict"),
        ({"w": torch.ones(2), "step": 3}, "not named tensors: 'step'"),
        ({0: torch.ones(2)}, "not named tensors"),
        ({"__metadata__": torch.ones(2)}, "not named tensors: '__metadata__'"),
        ({"\ud800": torch.ones(2)}, "not named tensors"),
        ({"w": torch.ones(1).expand(10**12)}, "claims 4000000000000 bytes"),
        ({"w": torch.eye(3).to_sparse()}, "'w' as a cpu tensor of layout torch.sparse_coo"),
        ({"w": torch.ones(2, device="meta")}, "'w' as a meta tensor"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "type torch.complex64"),
    ],
    ids=["list", "empty", "number", "numbered", "metadata", "surrogate", "bomb", "sparse", "meta", "complex"],
)
def test_what_is_no_state_dict_is_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert_weights(pickle_folder(tmp_path, value))
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x80\x02", b"garbage" * 100], ids=["empty", "zip", "cut", "noise"]
)
def test_a_damaged_pickle_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    pickle_folder(tmp_path, {})
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin") as caught:
        convert_weights(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cut_zip_is_one_clear_error(tmp_path: Path) -> None:
    folder = pickle_folder(tmp_path, tiny_model(BertModel).state_dict())
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        convert_weights(folder)


def test_weights_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    torch.save({"w": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"has model\.safetensors already"):
        convert_weights(tmp_path)


def test_no_pickle_several_or_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found: none"):
        convert_weights(tmp_path)
    for name in ("a.pt", "b.pt"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"found: a\.pt, b\.pt"):
        convert_weights(tmp_path)
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no weight_map"):
        convert_weights(tmp_path)
    with pytest.raises(CheckpointError, match="is not a folder"):
        convert_weights(tmp_path / "nowhere")
