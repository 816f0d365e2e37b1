"""Saving: what other tools read, equal bytes, ties once, and a disk that refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_checkpoints import tiny_model

from bert_onnx.checkpoint import save_weights
from bert_onnx.checkpoint.saving import dtype_names, write_safetensors
from bert_onnx.errors import StorageError
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel


def test_the_reference_reads_what_is_written(tmp_path: Path) -> None:
    model = tiny_model(BertForMaskedLM)
    path = save_weights(model, tmp_path / "new")
    assert path == tmp_path / "new" / "model.safetensors"
    read = load_file(path)
    state = model.state_dict()
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert read.keys() == state.keys() - tied
    assert all(torch.equal(read[name], state[name]) for name in read)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_untied_tensors_are_all_written(tmp_path: Path) -> None:
    model = tiny_model(BertForMaskedLM, tie_word_embeddings=False)
    assert load_file(save_weights(model, tmp_path)).keys() == model.state_dict().keys() - {
        "cls.predictions.decoder.bias"
    }


def test_transformers_reads_what_is_written(tmp_path: Path) -> None:
    from transformers.models.bert.modeling_bert import BertForMaskedLM as Reference

    model = tiny_model(BertForMaskedLM)
    model.save_pretrained(tmp_path)
    theirs, info = Reference.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in model.state_dict().items())


def test_equal_models_give_equal_bytes_and_only_that_file(tmp_path: Path) -> None:
    first = save_weights(tiny_model(BertModel), tmp_path / "1").read_bytes()
    assert save_weights(tiny_model(BertModel), tmp_path / "2").read_bytes() == first
    assert save_weights(tiny_model(BertModel, seed=1), tmp_path / "2").read_bytes() != first
    assert os.listdir(tmp_path / "2") == ["model.safetensors"]


@pytest.mark.parametrize("dtype", list(dtype_names()), ids=str)
def test_every_dtype_and_layout_survives(dtype: torch.dtype, tmp_path: Path) -> None:
    grid = torch.arange(12).reshape(3, 4).to(dtype)
    tensors = {"grid": grid, "transposed": grid.t(), "strided": grid[:, ::2], "scalar": grid[0, 1], "empty": grid[:0]}
    path = tmp_path / "model.safetensors"
    write_safetensors(tensors, path)
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == dtype
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name], tensor), name


def test_the_data_is_aligned_as_the_reference_aligns_it(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(3, dtype=torch.uint8), "a": torch.ones(5), "c": torch.ones(1, dtype=torch.float16)}
    write_safetensors(tensors, tmp_path / "ours")
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_full_disk_is_a_storage_error_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_weights(tiny_model(BertModel), tmp_path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device; nothing was changed"):
        save_weights(tiny_model(BertModel, seed=1), tmp_path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_place_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not be written"):
        save_weights(tiny_model(BertModel), tmp_path / "file" / "below")
